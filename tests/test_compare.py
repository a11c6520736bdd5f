"""Comparisons against numbers worked out by hand: cells, marks, rows, columns, formats, curves, mistakes."""

import csv
import dataclasses
import io
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.collections import FillBetweenPolyCollection
from rich.console import Console
from test_cli import fedtp

from fedtp_jax import Result, SimulationConfig, UserError, compare, config, simulate
from fedtp_jax.data.federated import Partition, Shards

BASE = SimulationConfig(
    partition=config.Pathological(clients=8, classes_per_client=2),
    training=config.Training(rounds=4, cohort_size=3),
    evaluation=config.Evaluation(every=1, last=2),
)
FEDTP, FEDAVG, VANILLA = config.FedTP(), config.FedAvg(), config.Vanilla()
TEST = 100  # examples of every client


def made(method, seed, curve, correct, shift=0, **changes):
    """A result that no simulation made: `curve` is the accuracy round by round, `correct` that of clients."""
    rounds = np.arange(1, len(curve) + 1)
    accuracies = np.array(correct) / TEST
    clients = {"client": np.arange(len(correct)), "test_accuracy": accuracies}
    history = pd.DataFrame(
        {
            "round": rounds,
            "test_accuracy": np.array(curve, float),
            "test_client_mean": np.where(rounds < len(curve), 0.0, pd.Series(accuracies).mean()),
            "test_client_std": 0.1,
            "test_worst_decile": np.where(rounds < len(curve), 0.0, pd.Series(accuracies).min()),
            "test_loss": 1.0,
            "clients_tested": float(np.isfinite(accuracies).sum()),
        }
    )
    lists = Shards.from_lists([np.array([k + shift]) for k in range(len(correct))])
    settings = dataclasses.replace(BASE, method=method, seed=seed, **changes)
    return Result(settings, history, pd.DataFrame(clients), None, Partition(lists, lists), None, {})


def flat(method, seed, accuracy, correct=(50,) * 8, **changes):
    rounds = changes.get("training", BASE.training).rounds
    return made(method, seed, [accuracy] * rounds, correct, **changes)


# fedtp is ahead of vanilla for every client by other amounts; of fedavg for all but the last
BEST = [90, 91, 92, 93, 94, 95, 96, 97]
BELOW = [89, 89, 89, 89, 89, 89, 89, 89]
MIXED = [89, 89, 89, 89, 89, 89, 89, 105]
THREE = [
    made(FEDTP, 0, [0.99, 0.2, 0.90, 0.94], BEST),
    made(FEDTP, 1, [0.99, 0.2, 0.96, 0.96], BEST),
    made(VANILLA, 0, [0.1, 0.2, 0.88, 0.90], BELOW),
    made(VANILLA, 1, [0.1, 0.2, 0.92, 0.90], BELOW),
    made(FEDAVG, 0, [0.1, 0.2, 0.87, 0.89], MIXED),
    made(FEDAVG, 1, [0.1, 0.2, 0.90, 0.90], MIXED),
]
# signs alone decide where all differences have one sign: 2 of the 2^8 ways are as extreme. Of fedavg's the
# ranks 1 to 7 are positive and 8 is negative: 25 of the 256 sums of ranks are at most 8, twice that is p.
ALL_AHEAD = 2 / 2**8
ALL_BUT_ONE = 2 * 25 / 2**8


@pytest.fixture(scope="module")
def three():
    return compare(THREE)


def test_a_cell_is_mean_and_sample_std_over_seeds_of_the_last_evaluations(three):
    table = three.table.set_index("method.name")
    assert table["mean"].to_dict() == pytest.approx({"fedtp": 0.94, "vanilla": 0.90, "fedavg": 0.89})
    # two numbers a and b have the sample std |a - b| / sqrt(2)
    std = {"fedtp": 0.04 / 2**0.5, "vanilla": 0.02 / 2**0.5, "fedavg": 0.02 / 2**0.5}
    assert table["std"].to_dict() == pytest.approx(std)
    assert table["seeds"].tolist() == [2, 2, 2]
    assert table["best"].to_dict() == {"fedtp": True, "vanilla": False, "fedavg": False}
    for result in THREE:
        assert compare(result).table["mean"][0] == result.accuracy["mean"]
    assert compare(THREE[0]).table["std"].isna().all()  # one seed has none


def test_the_other_metrics_are_of_the_last_evaluation():
    assert compare(THREE[0], "client_mean").table["mean"][0] == pytest.approx(np.mean(BEST) / TEST)
    assert compare(THREE[0], "worst_decile").table["mean"][0] == 0.9
    assert "worst decile" in compare(THREE[0], "worst_decile").sheet.columns


def test_p_values_are_of_the_signed_rank_test_after_holms_correction(three):
    table = three.table.set_index("method.name")
    assert table["p_value"].to_dict() == pytest.approx(
        {"fedtp": np.nan, "vanilla": 2 * ALL_AHEAD, "fedavg": ALL_BUT_ONE}, nan_ok=True
    )
    assert table["tied"].to_dict() == {"fedtp": False, "vanilla": False, "fedavg": True}


def test_a_method_that_clients_fare_better_with_is_no_worse_than_the_best():
    table = compare([flat(FEDTP, 0, 0.9, BELOW), flat(FEDAVG, 0, 0.89, BEST)]).table
    assert table["best"].tolist() == [True, False]
    assert table["p_value"][1] == pytest.approx(ALL_AHEAD)
    assert table["tied"].tolist() == [False, True]


def test_who_is_far_behind_over_the_evaluations_is_not_tied_by_the_last_one():
    table = compare([flat(FEDTP, 0, 0.9, BEST), flat(FEDAVG, 0, 0.6, MIXED)]).table
    assert table["p_value"][1] == pytest.approx(ALL_BUT_ONE)
    assert table["tied"].tolist() == [False, False]


def test_equal_clients_are_tied_and_untested_ones_left_out():
    table = compare([flat(FEDTP, 0, 0.9), flat(FEDAVG, 0, 0.8)]).table
    assert table["p_value"][1] == 1
    held_out = [[*BEST[:6], np.nan, np.nan], BELOW]
    table = compare([flat(FEDTP, 0, 0.9, held_out[0]), flat(FEDAVG, 0, 0.8, held_out[1])]).table
    assert table["p_value"][1] == pytest.approx(2 / 2**6)


def test_accuracies_are_averaged_over_common_seeds_before_the_test():
    swing = np.array([9, -9] * 4)
    runs = [flat(FEDTP, seed, 0.9, BEST + sign * swing) for seed, sign in ((0, 1), (1, -1), (2, 5))]
    table = compare([*runs, flat(FEDAVG, 0, 0.8, BELOW), flat(FEDAVG, 1, 0.8, BELOW)]).table
    assert table["seeds"].tolist() == [3, 2]
    assert table["p_value"][1] == pytest.approx(ALL_AHEAD)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (flat(FEDAVG, 0, 0.8, BELOW, shift=1), "other partition than the best's"),
        (flat(FEDAVG, 1, 0.8, BELOW), "no seed in common"),
        (flat(FEDAVG, 0, 0.8, [np.nan] * 8), "no client that was tested in both"),
    ],
)
def test_what_cannot_be_paired_is_not_tested(other, reason):
    made = compare([flat(FEDTP, 0, 0.9, BEST), other])
    assert made.table["p_value"].isna().all()
    assert not made.table["tied"].any()
    (note,) = [note for note in made.sheet.notes if reason in note]
    assert note.endswith(": fedavg.")
    assert "Wilcoxon" not in str(made)


def test_markdown(three):
    table, notes = three.to_markdown().split("\n\n")
    assert table.splitlines() == [
        "| method | accuracy |",
        "| --- | ---: |",
        "| fedtp | **94.00 ± 2.83** |",
        "| vanilla | 90.00 ± 1.41 |",
        "| fedavg | 89.00 ± 1.41† |",
    ]
    assert notes.startswith(
        "Test accuracy in percent. Mean ± sample std over 2 seeds of each run's mean over"
    )
    assert "last 2 evaluations, never of its best round; 8 clients" in notes
    assert "†: not significantly worse than the best" in notes
    assert three._repr_markdown_() == three.to_markdown()  # as a notebook shows it


def test_plain_text_marks_the_best_by_a_star(three, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # which is for terminals
    lines = str(three).splitlines()
    assert repr(three) == str(three)
    assert [line.split() for line in lines[4:7]] == [
        ["fedtp", "94.00", "±", "2.83*"],
        ["vanilla", "90.00", "±", "1.41"],
        ["fedavg", "89.00", "±", "1.41†"],
    ]
    assert any(line.startswith("*: the best of its column. †") for line in lines)
    assert max(map(len, lines)) <= 110


def test_latex(three):
    lines = three.to_latex().splitlines()
    assert lines[0] == r"% needs \usepackage{booktabs}"
    assert [line for line in lines if not line.startswith("%")] == [
        r"\begin{tabular}{lc}",
        r"\toprule",
        r"method & accuracy \\",
        r"\midrule",
        r"fedtp & \textbf{94.00 $\pm$ 2.83} \\",
        r"vanilla & 90.00 $\pm$ 1.41 \\",
        r"fedavg & 89.00 $\pm$ 1.41$^{\dagger}$ \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_names_mean_themselves_in_every_format():
    made = compare({"a_b | 5 %": THREE[0], r"\x": THREE[2]})
    assert r"| a\_b \| 5 % |" in made.to_markdown()
    assert r"a\_b | 5 \% &" in made.to_latex()
    assert r"\textbackslash{}x &" in made.to_latex()
    assert made.table["name"].tolist() == ["a_b | 5 %", r"\x"]


def test_csv_has_all_digits(three):
    back = list(csv.DictReader(io.StringIO(three.to_csv())))
    for name in ("mean", "std"):
        assert [float(row[name]) for row in back] == three.table[name].tolist()
    assert list(back[0]) == ["method.name", "mean", "std", "seeds", "best", "p_value", "tied"]


def test_the_terminal_shows_the_best_in_bold(three):
    console = Console(force_terminal=True, width=100, file=io.StringIO())
    console.print(three.sheet.terminal())
    assert "\x1b[1m94.00 ± 2.83" in console.file.getvalue()


def dirichlet(alpha):
    return {"partition": config.Dirichlet(clients=8, alpha=alpha)}


def test_columns_are_the_other_fields_that_differ_and_numbers_go_by_size():
    runs = [flat(FEDTP, 0, 0.9), *(flat(FEDTP, 0, 0.9, **dirichlet(a)) for a in (10.0, 0.5))]
    made = compare([*runs, flat(FEDAVG, 0, 0.8, **dirichlet(10.0))])
    assert made.sheet.corner == "method"
    assert made.sheet.rows == ["fedtp", "fedavg"]
    assert made.sheet.columns == ["pathological", "dirichlet, alpha=0.5", "dirichlet, alpha=10.0"]
    assert "| fedavg | ~ | ~ | 80.00 |" in made.to_markdown().replace("\N{EN DASH}", "~")
    assert made.table["partition.alpha"].fillna(0).tolist() == [0, 0.5, 10, 10]
    assert "fedavg" not in str(made.sheet.notes)  # nothing is said of a cell that is not there


def test_rounds_make_columns_and_machines_do_not():
    longer = dataclasses.replace(BASE.training, rounds=6)
    lanes = config.Engine(lanes=2, devices=1)
    made = compare(
        [flat(FEDTP, 0, 0.9), flat(FEDTP, 0, 0.9, training=longer), flat(FEDTP, 1, 0.9, engine=lanes)]
    )
    assert made.sheet.columns == ["rounds=4", "rounds=6"] or made.sheet.rows == ["4", "6"]
    assert sorted(made.table["seeds"]) == [1, 2]


def test_options_of_the_method_and_what_each_method_has_for_itself_belong_to_the_row():
    slow = dataclasses.replace(BASE.training, learning_rate=0.001)
    runs = [flat(config.FedProx(mu=mu), 0, mu) for mu in (0.9, 0.1)]
    made = compare([*runs, flat(FEDAVG, 0, 0.5, training=slow)])
    assert made.sheet.rows == [
        "fedprox, mu=0.1, learning_rate=0.01",
        "fedprox, mu=0.9, learning_rate=0.01",
        "fedavg, learning_rate=0.001",
    ]
    assert made.sheet.columns == ["accuracy"]
    # a field that varies within a row is a column
    made = compare([flat(m, 0, 0.5, training=t) for m in (FEDTP, FEDAVG) for t in (slow, BASE.training)])
    assert made.sheet.rows == ["fedtp", "fedavg"]
    assert made.sheet.columns == ["learning_rate=0.001", "learning_rate=0.01"]


def test_with_one_method_the_first_other_field_makes_the_rows():
    slow = dataclasses.replace(BASE.training, learning_rate=0.001)
    runs = [
        flat(FEDTP, 0, 0.5, training=training, **dirichlet(alpha))
        for training in (slow, BASE.training)
        for alpha in (0.1, 1.0)
    ]
    made = compare(runs)
    assert made.sheet.corner == "learning_rate"
    assert made.sheet.rows == ["0.001", "0.01"]
    assert made.sheet.columns == ["alpha=0.1", "alpha=1.0"]


def test_fields_of_the_same_words_stay_apart():
    methods = [config.FedPer(personal=patterns) for patterns in (("head", "norm"), ("head+norm",))]
    made = compare([flat(method, 0, 0.5 + k / 10) for k, method in enumerate(methods)])
    assert made.sheet.rows == ["head+norm", "head+norm'"]
    assert made.table["mean"].tolist() == pytest.approx([0.5, 0.6])


def test_names_given_are_the_rows():
    slow = dataclasses.replace(BASE.training, learning_rate=0.001)
    made = compare({"ours": [THREE[0], THREE[1]], "theirs": flat(FEDTP, 0, 0.5, training=slow)})
    assert made.sheet.rows == ["ours", "theirs"]
    assert made.sheet.columns == ["accuracy"]
    assert made.table["seeds"].tolist() == [2, 1]
    assert "over 1 to 2 seeds" in str(made)
    assert compare({"a": THREE[0], "b": THREE[0]}).table["seeds"].tolist() == [1, 1]


def test_the_same_run_twice_counts_once():
    made = compare([THREE[0], THREE[0], flat(FEDTP, 0, 0.1)])
    assert made.table["seeds"].tolist() == [1]
    (note,) = [note for note in made.sheet.notes if "twice" in note]
    assert note.count("fedtp, seed 0 (configuration and seed of fedtp, seed 0)") == 2


def test_results_that_ended_early_are_named_and_those_without_evaluation_left_out():
    whole = flat(FEDAVG, 3, 0.5)
    made = compare([*THREE[:4], dataclasses.replace(whole, history=whole.history[:3])])
    assert made.sheet.rows == ["fedtp", "vanilla", "fedavg"]
    assert "Ended early: fedavg, seed 3 (3 of 4 rounds)." in made.sheet.notes
    nothing = dataclasses.replace(whole, history=whole.history[:3].assign(test_accuracy=np.nan))
    made = compare([*THREE[:4], nothing])
    assert made.sheet.rows == ["fedtp", "vanilla"]
    assert "Left out, not finished: fedavg, seed 3 (3 of 4 rounds)." in made.sheet.notes
    with pytest.raises(UserError, match=r"none is finished yet: fedavg, seed 3 \(3 of 4 rounds"):
        compare(nothing)


def test_curves_have_a_panel_per_column_and_a_band_of_one_std():
    runs = [*THREE, flat(FEDTP, 0, 0.5, **dirichlet(0.3))]
    left, right = compare(runs).plot().axes
    assert [axes.get_title(loc="left") for axes in (left, right)] == ["pathological", "dirichlet"]
    (legend,) = left.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["fedtp", "vanilla", "fedavg"]
    np.testing.assert_allclose(left.lines[0].get_ydata(), [99, 20, 93, 95])
    band = next(item for item in left.collections if isinstance(item, FillBetweenPolyCollection))
    corners = band.get_paths()[0].vertices
    ends = corners[corners[:, 0] == 4, 1]
    assert (ends.min(), ends.max()) == pytest.approx((95 - 2**0.5, 95 + 2**0.5))
    assert len(right.lines) == 1
    assert right.lines[0].get_color() == left.lines[0].get_color()
    assert len({line.get_color() for line in left.lines}) == 3


def test_a_legend_of_long_names_stays_within_the_picture():
    names = [f"{k}: vanilla, personal=query/kernel+key/kernel+value/kernel" for k in range(5)]
    figure = compare({name: flat(FEDAVG, k, 0.5) for k, name in enumerate(names)}).plot()
    figure.savefig(io.BytesIO(), format="png")
    (legend,) = figure.legends
    box, frame = legend.get_window_extent(), figure.bbox
    assert frame.x0 <= box.x0 and box.x1 <= frame.x1


# ------------------------------------------------------------------------------------- folders, shell

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
    assert made.sheet.cells["fedavg", "accuracy"].text in out
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
        ([str(path), "--picture", "curves.pdf"], "--picture curves.pdf: expected a file that ends in .png"),
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
