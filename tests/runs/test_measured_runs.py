"""Runs that are measured further: their files, what hooks hear, what is chosen, compared and printed."""

import dataclasses
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from commands import fedtp
from made_up_results import FEDAVG, FEDTP, VANILLA, flat
from marks import every_day
from measured_run import ASKED, OWN, SETTINGS, rare
from tiny_run import TINY, Stopped, same_files, stop_after

from fedtp_jax import Result, UserError, compare, simulate
from fedtp_jax.config.plain import to_yaml
from fedtp_jax.evaluation.choice import best_evaluation


def test_any_run_has_confusions(whole):
    result, path = whole
    assert np.trace(result.confusion()) == result.clients["test_correct"].sum()
    assert result.confusion(2).equals(Result.load(path).confusion(2))
    assert not (path / "classes.csv").exists() and not (path / "clients_history.csv").exists()


def test_hooks_hear_of_statistics_and_clients(measured):
    result, _, heard = measured
    assert [round for round, *_ in heard] == [2, 4]
    accuracy, table = heard[-1][1:]
    assert accuracy.measures["f1_macro"].client_std == result.history["test_f1_macro_client_std"].iloc[-1]
    assert accuracy.adapted.measures["ece"].pooled == result.history["adapted_ece"].iloc[-1]
    pd.testing.assert_frame_equal(table, result.clients)
    assert not heard[0][2].equals(table)


def test_every_evaluation_of_the_clients_is_kept(measured):
    result, path, heard = measured
    history = result.clients_history
    assert history[["round", "client"]].to_numpy().tolist() == [[r, k] for r in (2, 4) for k in range(6)]
    for round, _, table in heard:
        rows = history[history["round"] == round].reset_index(drop=True)
        names = [name for name in rows if name != "round"]
        assert {"test_f1_macro", "adapted_accuracy", "val_correct", "test_loss"} <= {*names}
        pd.testing.assert_frame_equal(rows[names], table[names])
    loaded = Result.load(path, **OWN)
    for table in (
        loaded.clients_history,
        pd.read_csv(path / "clients_history.csv"),
    ):
        pd.testing.assert_frame_equal(table, history)


@pytest.mark.parametrize("stop", every_day([1, 3], [3]))
def test_resume_equals_never_stopped(stop, measured, tmp_path):
    result, path, _ = measured
    with pytest.raises(Stopped):
        simulate(**SETTINGS, out=tmp_path / "run", on_round=stop_after(stop))
    (tmp_path / "run" / "clients_history.csv").unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the file, and of no checkpoint yet
        again = simulate(**SETTINGS, out=tmp_path / "run", resume=True)
    same_files(path, tmp_path / "run")
    for name in ("clients_history.csv", "classes.csv"):
        assert (path / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    pd.testing.assert_frame_equal(again.clients_history, result.clients_history)
    (tmp_path / "run" / "classes.csv").unlink()
    simulate(**SETTINGS, out=tmp_path / "run", resume=True)
    assert (path / "classes.csv").read_bytes() == (tmp_path / "run" / "classes.csv").read_bytes()
    again.save(tmp_path / "saved")
    assert (path / "classes.csv").read_bytes() == (tmp_path / "saved" / "classes.csv").read_bytes()
    saved = Result.load(tmp_path / "saved", **OWN)
    pd.testing.assert_frame_equal(saved.clients_history, result.clients_history)


def test_resume_wants_the_same_functions(measured):
    _, path, _ = measured
    with pytest.raises(UserError, match=r"evaluation\.metrics: brier was given from Python"):
        Result.load(path, partition=OWN["partition"])

    def brier(labels, scores):
        return 0.5

    evaluation = {**SETTINGS["evaluation"], "metrics": [*ASKED[:-2], brier, rare]}
    with pytest.raises(UserError, match=r"evaluation\.metrics\.6: .*brier there, .*brier here"):
        simulate(**{**SETTINGS, "evaluation": evaluation}, out=path, resume=True)


def test_seeds_side_by_side_are_what_they_are_alone(tmp_path):
    evaluation = {**SETTINGS["evaluation"], "adapt": {}}
    settings = {**SETTINGS, "evaluation": evaluation, "engine": {"devices": 1}}
    together = simulate(**settings | {"engine": {"devices": 1, "simulations": 2}}, seeds=[0, 1])
    alone = simulate(**settings, seed=1)
    pd.testing.assert_frame_equal(together[1].history, alone.history)
    pd.testing.assert_frame_equal(together[1].clients_history, alone.clients_history)


def test_the_best_is_the_lowest_of_an_error():
    rows = [{"round": n, "clients_tested": 5, "val_ece": v, "val_top5": v} for n, v in ((1, 0.3), (2, 0.1))]
    assert best_evaluation(rows, "val_ece") == (2, 0)
    assert best_evaluation(rows, "val_top5") == (1, 1)


def test_runs_are_compared_by_it():
    """Of an error the lowest is the best, and a row of clients with higher ones is worse."""

    def made(method, errors):
        result = flat(method, 0, 0.9)
        statistics = {
            "test_ece": np.mean(errors),
            "test_ece_client_mean": np.mean(errors),
            "test_f1_macro": 0.1,
        }
        history, clients = result.history.assign(**statistics), result.clients.assign(test_ece=errors)
        return dataclasses.replace(result, history=history, clients=clients)

    low = np.linspace(0.1, 0.2, 8)
    runs = [made(FEDTP, low + 0.1), made(FEDAVG, low), made(VANILLA, low[::-1].copy())]
    for metric in ("ece", "ece_client_mean"):
        made_of = compare(runs, metric)
        table = made_of.table.set_index("method.name")
        assert table["best"].to_dict() == {"fedtp": False, "fedavg": True, "vanilla": True}
        assert table["p_value"]["fedtp"] < 0.05 and not table["tied"]["fedtp"]
        assert "over the clients' values" in str(made_of)
    assert "Expected calibration error in percent." in str(compare(runs, "ece"))
    with pytest.raises(UserError, match=r"did not measure auroc; run it with evaluation\.metrics=\[auroc\]"):
        compare(runs, "auroc")


def test_measures_are_no_task():
    """Runs that differ in what is measured besides are rows of one table."""
    more = dataclasses.replace(TINY.evaluation, metrics=("f1_macro",), clients_history=True)
    runs = [flat(FEDTP, 0, 0.9), flat(FEDAVG, 0, 0.8, evaluation=dataclasses.replace(more, every=1))]
    assert compare(runs).sheet.columns == ["accuracy"]


def test_what_is_printed_reported_and_chosen(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(to_yaml(TINY))
    given = ["training.rounds=3", "evaluation.every=1", "evaluation.metrics=[f1_macro, ece]"]
    chosen = ["partition.validation=0.2", "checkpoint.best=val_ece_worst_decile"]
    code, out, err = fedtp(capsys, "run", "tiny.yaml", *given, *chosen, "--quiet", "--out", "run")
    assert code == 0, err
    result = Result.load(tmp_path / "run")
    last = result.history.iloc[-1]
    assert f"test f1_macro {last['test_f1_macro']:.4f}; clients: mean" in out
    assert result.best.accuracy["round"] == result.history["val_ece_worst_decile"].argmin() + 1
    report = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "test f1 macro (%)" in report and f"<td>{100 * last['test_f1_macro']:.2f}</td>" in report
    _, out, _ = fedtp(capsys, "resume", "run", "--json")
    assert json.loads(out)["val_ece_client_std"] == last["val_ece_client_std"]
    code, out, _ = fedtp(capsys, "compare", "run", "--metric", "f1_macro_worst_decile")
    assert code == 0 and f"{100 * last['test_f1_macro_worst_decile']:.2f}" in out
