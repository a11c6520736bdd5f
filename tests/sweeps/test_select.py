"""A sweep with `select`: validation shards choose settings, and test shards tell of the chosen alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import fedtp

from fedtp_jax import Result

SHARE = {"partition.validation": [0.2]}
# settings of the host alone, which share programs
GRID = {"method.name": ["fedavg", "local"], "training.participation.dropout": [0.0, 0.5], **SHARE}


@pytest.fixture
def swept(file, capsys):
    name = file(grid=GRID, seeds=[0, 1], select="val_accuracy")
    return name, fedtp(capsys, "sweep", name)


def validated(name):
    """The mean over the seeds of each run's mean over its last two evaluations."""
    runs = [Result.load(Path("runs/tiny") / name / f"seed-{seed}") for seed in (0, 1)]
    return np.mean([run.history["val_accuracy"].tail(2).mean() for run in runs]), runs


def test_each_method_with_what_validation_shards_choose(swept, capsys):
    name, (code, out, err) = swept
    assert code == 0
    table = pd.read_csv("runs/tiny/selection.csv")
    assert table["combination"].tolist() == [
        f"method={method},dropout={share}" for method in ("fedavg", "local") for share in (0.0, 0.5)
    ]
    for method in ("fedavg", "local"):
        rows = table[table["method"] == method]
        values = [validated(combination)[0] for combination in rows["combination"]]
        np.testing.assert_allclose(rows["val_accuracy"], values)
        assert rows["chosen"].tolist() == [int(k == np.argmax(values)) for k in range(2)]
        chosen = rows[rows["chosen"] == 1].iloc[0]
        runs = validated(chosen["combination"])[1]
        test = np.mean([run.accuracy["mean"] for run in runs])
        assert chosen["test_accuracy"] == pytest.approx(test)
        (line,) = [line for line in out.splitlines() if line.split()[:1] == [method]]
        assert f"{100 * test:.2f} ±" in line and "dropout" not in line
        assert chosen["combination"] in " ".join(out.split())
    assert table["test_accuracy"].isna().sum() == 2  # of what was not chosen nothing is told
    assert "Settings chosen among 4 by val_accuracy" in out
    assert ": accuracy" not in err and err.count(": val_accuracy ") == 8
    assert fedtp(capsys, "sweep", name)[:2] == (code, out)  # from the folders alone


def test_a_choice_is_made_for_every_task_and_by_the_metric_that_is_asked_for(file, capsys):
    partitions = [
        {"name": "pathological", "clients": 6, "classes_per_client": n, "validation": 0.2} for n in (2, 3)
    ]
    grid = {"partition": partitions, "training.participation.dropout": [0.0, 0.5]}
    name = file(grid=grid, seeds=[0], select="val_loss")
    code, out, _ = fedtp(capsys, "sweep", name)
    assert code == 0
    table = pd.read_csv("runs/tiny/selection.csv")
    assert table["combination"].tolist() == [
        f"classes_per_client={n},dropout={share}" for n in (2, 3) for share in (0.0, 0.5)
    ]
    for task in (table[:2], table[2:]):
        assert task["chosen"].sum() == 1
        assert task["val_loss"].idxmin() == task["chosen"].idxmax()
    lines = [line.split() for line in out.splitlines()]
    figures = {words[0]: float(words[1].strip("*†")) for words in lines if words[:1] in (["2"], ["3"])}
    expected = 100 * table["test_accuracy"].dropna()
    np.testing.assert_allclose([figures["2"], figures["3"]], expected, atol=0.006)


def test_what_is_not_finished_is_not_chosen_from(file, capsys):
    grid = {**SHARE, "training.on_nonfinite": ["stop"], "training.learning_rate": [1e30, 0.1]}
    code, out, err = fedtp(capsys, "sweep", file(grid=grid, seeds=[0], select="val_accuracy"))
    assert code == 1 and "failed: learning_rate=1e+30" in err
    assert "Not chosen from, not finished: learning_rate=1e+30." in " ".join(out.split())
    assert pd.read_csv("runs/tiny/selection.csv")["combination"].tolist() == ["learning_rate=0.1"]


def test_runs_without_validation_shards_cannot_be_chosen_from(file, capsys):
    name = file(grid={"method.name": ["fedavg"]})
    fedtp(capsys, "sweep", name, "--quiet")
    file(grid={"method.name": ["fedavg"]}, select="val_accuracy")
    code, _, err = fedtp(capsys, "sweep", name)
    assert code == 2
    told = (
        "error: runs/tiny/method=fedavg/seed-4: did not measure val_accuracy, for it has no validation shards"
    )
    assert err.splitlines()[-1].startswith(told)
