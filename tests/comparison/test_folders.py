"""Comparing folders of runs, from Python and from the shell."""

import dataclasses
import shutil

import numpy as np
import pytest
import yaml
from commands import fedtp
from made_up_results import BASE, FEDAVG, FEDTP

from fedtp_jax import UserError, compare, config, simulate

TINY = dataclasses.replace(
    BASE,
    partition=config.Pathological(clients=6, classes_per_client=2),
    model=config.Vit(patch_size=4, dim=8, depth=1, heads=2, dim_head=4, mlp_dim=8),
    method=FEDAVG,
    training=config.Training(rounds=2, cohort_size=3, batch_size=64),
    engine=config.Engine(devices=1),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """(results of two seeds, their folder)"""
    path = tmp_path_factory.mktemp("runs") / "fedavg"
    return simulate(TINY, seeds=[0, 1], out=path), path


def test_folders_give_what_results_give(runs, tmp_path):
    results, path = runs
    expected = compare(results)
    assert expected.table["mean"][0] == np.mean([result.accuracy["mean"] for result in results])
    for given in (path, str(path), path.parent, [path / "seed-0", path / "seed-1"], [path, path / "seed-1"]):
        assert compare(given).to_csv() == expected.to_csv()
    results[0].save(tmp_path / "saved")
    assert compare(tmp_path).to_csv() == compare(results[0]).to_csv()
    other = dataclasses.replace(results[0], config=dataclasses.replace(TINY, method=FEDTP))
    assert (
        compare([path / "seed-0", other]).table["p_value"].tolist()[1] == 1
    )  # they have their clients in common


def test_a_method_that_no_file_can_hold_compares_by_its_name(runs, tmp_path):
    _, path = runs
    shutil.copytree(path / "seed-0", tmp_path / "mine")
    file = tmp_path / "mine" / "config.yaml"
    values = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**values, "method": {"name": "method", "of": "mine.method"}}))
    assert compare([path, tmp_path]).sheet.rows == ["fedavg", "method"]


def test_from_the_shell(runs, tmp_path, capsys):
    results, path = runs
    made = compare(results)
    code, out, err = fedtp(capsys, "compare", str(path))
    assert (code, err) == (0, "")
    assert made.sheet.cells["fedavg", "accuracy"].text("accuracy") in out
    for form, text in (
        ("markdown", made.to_markdown()),
        ("terminal", made.sheet.text()),
        ("csv", made.to_csv()),
        ("latex", made.to_latex()),
    ):
        assert fedtp(capsys, "compare", str(path), "--format", form) == (0, text, "")
    picture, file = tmp_path / "curves.png", tmp_path / "table.tex"
    code, out, err = fedtp(capsys, "compare", str(path), "--out", str(file), "--picture", str(picture))
    assert (code, out) == (0, "")
    assert err.splitlines() == [f"wrote {file}", f"wrote {picture}"]
    assert file.read_text() == made.to_latex()
    assert picture.read_bytes().startswith(b"\x89PNG")
    page = tmp_path / "page.html"
    code, out, err = fedtp(capsys, "compare", str(path), "--html", str(page))
    assert (code, out, err) == (0, made.sheet.text(), f"wrote {page}\n")
    assert page.read_text("utf-8") == made.to_html()
    code, out, _ = fedtp(
        capsys, "compare", str(path), "--out", str(tmp_path / "t.txt"), "--metric", "client_mean"
    )
    assert "client mean" in (tmp_path / "t.txt").read_text()


def test_mistakes_exit_with_2_and_one_line(runs, tmp_path, capsys):
    _, path = runs
    (tmp_path / "empty").mkdir()
    torn = tmp_path / "torn"
    shutil.copytree(path / "seed-0", torn)
    whole = (torn / "metrics.csv").read_text().splitlines(keepends=True)
    (torn / "metrics.csv").write_text("".join(whole[:2]))
    (torn / "report.html").unlink()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.yaml").write_text("a: 3")
    cases = [
        ([], "RUNS: got none"),
        ([str(tmp_path / "none")], "there is no such folder"),
        ([str(tmp_path / "empty")], "holds no run"),
        ([str(tmp_path / "other")], "other: cannot be read as a run (KeyError('training')); run it again"),
        ([str(torn)], f"none is finished yet: {torn} (1 of 2 rounds); go on with fedtp resume"),
        (
            [str(path), "--picture", "curves.jpg"],
            "--picture curves.jpg: expected a file that ends in .png, .pdf or .svg",
        ),
        (
            [str(path), "--out", str(tmp_path / "none" / "t.md")],
            "cannot be written (No such file or directory)",
        ),
    ]
    for arguments, message in cases:
        code, out, err = fedtp(capsys, "compare", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
        assert message in err
    made = compare([path, torn])
    assert f"Left out, not finished: {torn} (1 of 2 rounds)." in made.sheet.notes
    for wrong in (3, [], [None], {}, {"a": {"b": 1}}):
        with pytest.raises(UserError, match="runs: got"):
            compare(wrong)
    with pytest.raises(UserError, match="metric: got 'best'; choose one of accuracy"):
        compare(path, "best")
