"""Regression and several labels: by every method, resumed, in every table and picture, from files."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from commands import fedtp
from marks import every_day
from method_cases import METHODS, MODELS
from other_tasks import DATA, RNG, SITES, TRAINING, X, Y, run

from fedtp_jax import Result, UserError, compare, config, from_arrays, load_data
from fedtp_jax.results.summary import result_as_json, result_in_words

REFUSED = {
    "fedproto": "a prototype of each class",
    "fedpac": "centroid",
    "fedrod": "examples of each class",
    "fedtp_prior": "examples of each class",
    "fedtp_rod": "of each class",
}
EVERY = [(name, kind) for name in METHODS for kind in Y]


@pytest.mark.parametrize("kind", Y)
def test_words_json_and_repr_say_which_measure_it_is(kind, tmp_path):
    result = run(kind)
    word = "mean absolute error" if kind == "regression" else "accuracy"
    assert result_in_words(result).startswith(f"test {word} ")
    assert f"test {word} " in repr(result)
    told = result_as_json(result, tmp_path)
    assert told["measure"] == ("mae" if kind == "regression" else "accuracy")
    other = "accuracy" if kind == "regression" else "error"
    with pytest.raises(UserError, match=f"result.{other}: "):
        getattr(result, other)
    with pytest.raises(UserError, match=f"there are no classes in {kind}"):
        result.confusion()


def test_pictures_and_comparisons_are_of_it():
    runs = {name: run("regression", method=name) for name in ("local", "fedavg")}
    made = compare(runs)
    assert made.metric == "mae" and made.sheet.title == "Mean absolute error."
    means = {name: result.error["mean"] for name, result in runs.items()}
    best = min(means, key=means.get)
    assert [row for row in made.sheet.rows if made.sheet.cells[row, "mae"].best] == [best]
    assert f"{means[best]:.4g}*" in str(made)
    assert made.plot().axes[0].get_ylabel() == "mean absolute error"
    assert compare(runs, "r2").table["mean"].tolist() == pytest.approx(
        [result.history["test_r2"].dropna().mean() for result in runs.values()]
    )
    left = runs["local"].plot_curves().axes[0]
    assert left.get_ylabel() == "mean absolute error"
    heights = [bar.get_height() for bar in runs["local"].plot_clients().axes[0].patches]
    assert heights == sorted(runs["local"].clients["test_mae"], reverse=True)
    gains = runs["local"].plot_gains(runs["fedavg"]).axes[0]
    change = runs["fedavg"].clients["test_mae"] - runs["local"].clients["test_mae"]
    assert sorted(bar.get_height() for bar in gains.patches if bar.get_height()) == pytest.approx(
        sorted(change)
    )
    with pytest.raises(UserError, match="is of another kind of task and did not measure accuracy"):
        compare(runs, "accuracy")
    with pytest.raises(UserError, match="compare those of one kind of task"):
        compare([*runs.values(), run("multilabel")])


@pytest.mark.parametrize(
    ("name", "kind"),
    every_day(
        EVERY,
        [
            ("fedtp", "regression"),
            ("pefll", "multilabel"),
            ("fedrod", "regression"),
            ("fedproto", "multilabel"),
        ],
        [(name, "regression") for name in METHODS],
    ),
)
def test_every_method_learns_or_says_why_not(name, kind):
    model = MODELS["mlp" if name in ("pfedhn", "pefll") else "transformer"]
    if name == "fedperfix":
        model = dataclasses.replace(model, adapter=config.Adapter(size=2))
    passes = 2 if name in ("fedrep", "fedpac") else 1
    settings = {
        "model": model,
        "method": METHODS[name],
        "training": {**TRAINING, "learning_rate": 0.05, "local_epochs": passes},
    }
    if name == "fedbn":
        settings["model"] = {"name": "cnn_bn", "kernels": 1}
        images = RNG.integers(0, 256, (96, 16, 16, 1), np.uint8)
        settings["data"] = from_arrays(images, Y[kind], task=kind, groups=SITES)
    if name in REFUSED:
        with pytest.raises(UserError, match=f"task.kind: {kind}, but method {name} .*{REFUSED[name]}"):
            run(kind, **settings)
        return
    result = run(kind, **settings)
    assert np.isfinite(result.history["test_loss"].dropna()).all()
    assert result.history["train_loss"].iloc[-1] < result.history["train_loss"].iloc[0] * 1.5


def test_resume_validation_adaptation_and_new_clients(tmp_path):
    settings = {
        "partition": {"name": "natural", "validation": 0.2},
        "checkpoint": {"every": 1, "best": "val_mae"},
        "evaluation": {"every": 1, "metrics": ["r2"], "adapt": {"epochs": 1}, "clients_history": True},
        "training": {
            **TRAINING,
            "stop": {"metric": "val_r2", "patience": 2},
            "cohort_size": 3,
            "held_out": 1,
        },
        "method": "fedper",
    }
    whole = run("regression", **settings)

    class Stopped(Exception):
        pass

    def stop(progress):
        assert progress.test.headline == "mae" and progress.clients["test_mae"].notna().sum() == 3
        if progress.round == 2:
            raise Stopped

    with pytest.raises(Stopped):
        run("regression", **settings, out=tmp_path / "run", on_evaluation=stop)
    again = run("regression", **settings, out=tmp_path / "run", resume=True)
    pd.testing.assert_frame_equal(again.history, whole.history)
    pd.testing.assert_frame_equal(again.clients, whole.clients)
    assert again.best.error["round"] == whole.history["val_mae"].argmin() + 1
    assert whole.adapted["last"] == whole.history["adapted_mae"].iloc[-1] < whole.error["last"]
    assert {"test_mae", "val_mae", "adapted_mae", "test_r2"} <= {*whole.clients_history}
    assert "mean absolute error" in (tmp_path / "run" / "report.html").read_text()
    loaded = Result.load(tmp_path / "run")
    reached = loaded.personalize_held_out(DATA["regression"], modes=["zero_shot", "fine_tune"])
    assert {"test_mae", "test_r2"} <= {*reached.table}
    assert reached.table["test_mae"].iloc[1] < reached.table["test_mae"].iloc[0]
    far = from_arrays(X[:40], Y["regression"][:40], task="regression", standardize="none")
    found = loaded.personalize(far, modes=["zero_shot"]).reached["zero_shot"]
    mean = loaded.mean_variables()  # on the scale of the numbers that it was trained on
    dense = mean["params"]["head"]
    known = DATA["regression"]
    predicted = (
        far.test.x @ np.asarray(dense["kernel"]) + dense["bias"]
    ) * known.target_std + known.target_mean
    assert found.pooled == pytest.approx(np.abs(predicted - far.test.y).mean(), rel=1e-4)


def test_from_files_and_the_shell(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(X, columns=list("abcde")).assign(
        site=[f"site {k}" for k in SITES], low=Y["regression"][:, 0], high=Y["regression"][:, 1]
    )
    frame.to_csv("sites.csv", index=False)
    table = {"name": "table", "file": "sites.csv", "label": ["low", "high"], "client": "site"}
    read = load_data(table, task="regression")
    np.testing.assert_allclose(
        np.sort(np.concatenate([read.train.y, read.test.y])[:, 0]), np.sort(frame["low"])
    )
    np.savez("sites.npz", x=X, y=Y["multilabel"], groups=SITES)
    assert load_data({"name": "npz", "file": "sites.npz"}, task="multilabel").num_classes == 3
    settings = {
        "data": table,
        "partition": {"name": "natural"},
        "task": {"kind": "regression"},
        "model": {"name": "mlp", "layers": 0},
        "training": {"rounds": 2, "cohort_size": 4},
        "method": {"name": "fedavg"},
    }
    (tmp_path / "run.yaml").write_text(json.dumps(settings))
    shown = fedtp(capsys, "partition", "run.yaml", "--out", "who")
    assert shown[0] == 0 and "examples" in shown[1]
    assert list(pd.read_csv("who/partition.csv")) == ["client", "name", "train", "test"]
    assert fedtp(capsys, "plan", "run.yaml")[0] == 0
    for name in ("fedavg", "local"):
        code, out, err = fedtp(capsys, "run", "run.yaml", f"method.name={name}", "--out", f"runs/{name}")
        assert code == 0 and "mae " in err and "test mean absolute error" in out
    assert "Mean absolute error." in fedtp(capsys, "compare", "runs")[1]
