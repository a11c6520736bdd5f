"""Runs with validation shards: what is measured, and what is not changed by it; the end by training.stop."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from commands import fedtp
from tiny_run import TINY, Stopped, same_files, same_state, stop_after

from fedtp_jax import Partition, Result, UserError, config, load_data, simulate
from fedtp_jax.evaluation.choice import best_evaluation
from fedtp_jax.simulation.plan import plan_run

SHARE = dataclasses.replace(TINY, partition=dataclasses.replace(TINY.partition, validation=0.2))
VALUES = ["val_accuracy", "val_client_mean", "val_client_std", "val_worst_decile", "val_loss"]
OF_CLIENTS = ["val_examples", "val_correct", "val_accuracy", "val_loss"]


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    path = tmp_path_factory.mktemp("validated") / "run"
    return simulate(SHARE, out=path), path


def test_columns_say_what_the_clients_reach_on_their_validation_shards(validated):
    result, _ = validated
    history, clients = result.history, result.clients
    assert list(history)[-5:] == VALUES and list(clients)[-4:] == OF_CLIENTS
    assert history["val_accuracy"].notna().equals(history["test_accuracy"].notna())
    data = load_data("digits")
    for client in (0, 4):
        shard = result.partition.validation[client]
        right = np.argmax(result.predict(client, data.train.x[shard]), -1) == data.train.y[shard]
        assert clients["val_accuracy"][client] == pytest.approx(right.mean())
        assert clients["val_examples"][client] == len(shard)
    last = history.iloc[-1]
    assert last["val_accuracy"] == clients["val_correct"].sum() / clients["val_examples"].sum()
    assert last["val_client_mean"] == pytest.approx(clients["val_accuracy"].mean())
    assert last["val_worst_decile"] == clients["val_accuracy"].min()
    weights = clients["val_examples"] / clients["val_examples"].sum()
    assert last["val_loss"] == pytest.approx((clients["val_loss"] * weights).sum())


def test_all_else_is_as_if_these_examples_were_not_there(validated):
    result, _ = validated
    own = Partition(result.partition.train, result.partition.test)
    without = simulate(TINY, partition=own)
    same_state(without.state, result.state)
    pd.testing.assert_frame_equal(without.history, result.history.drop(columns=VALUES))
    pd.testing.assert_frame_equal(without.clients, result.clients.drop(columns=OF_CLIENTS))
    assert result.clients["train_examples"].tolist() == result.partition.train.sizes.tolist()


def test_without_a_share_nothing_is_there(whole):
    result, _ = whole
    assert not [name for name in (*result.history, *result.clients) if name.startswith("val")]
    with pytest.raises(UserError, match=r"result\.best: none was kept"):
        _ = result.best


@pytest.mark.alone
@pytest.mark.parametrize("weight", [0.0, 0.5], ids=["", "neighbours"])
def test_both_kinds_of_shards_are_evaluated_by_one_program(weight):
    evaluation = dataclasses.replace(TINY.evaluation, knn=config.Knn(weight=weight))
    few = {"evaluation": evaluation, "training": {"rounds": 2}}
    counts = [simulate(settings, **few).compiled["programs"] for settings in (TINY, SHARE)]
    assert counts[0] == counts[1]


def test_it_is_resumed_bit_for_bit(validated, tmp_path):
    with pytest.raises(Stopped):
        simulate(SHARE, out=tmp_path / "run", on_round=stop_after(5))
    again = simulate(SHARE, out=tmp_path / "run", resume=True)
    same_files(validated[1], tmp_path / "run")
    same_state(validated[0].state, again.state)


def test_seeds_and_hooks_hear_of_it():
    heard = []
    results = simulate(SHARE, seeds=[0, 1], training={"rounds": 2}, on_evaluation=heard.append)
    for progress, result in zip(heard, results, strict=True):
        assert progress.validation.pooled == progress.row["val_accuracy"]
        alone = simulate(dataclasses.replace(SHARE, seed=result.config.seed), training={"rounds": 2})
        pd.testing.assert_frame_equal(result.history, alone.history)
    assert results[0].partition.fingerprint() != results[1].partition.fingerprint()


ADAPTED = dataclasses.replace(
    SHARE, evaluation=dataclasses.replace(SHARE.evaluation, adapt=config.Adapt(steps=2))
)


def test_clients_that_adapt_are_validated_as_they_are(validated, tmp_path):
    with pytest.raises(Stopped):
        simulate(ADAPTED, out=tmp_path / "run", on_round=stop_after(5))
    result = simulate(ADAPTED, out=tmp_path / "run", resume=True)
    tables = [(result.history, validated[0].history), (result.clients, validated[0].clients)]
    for table, without in tables:
        adapted = [name for name in table if name.startswith("adapted_")]
        assert adapted and list(table).index(adapted[-1]) < list(table).index("val_accuracy")
        pd.testing.assert_frame_equal(table.drop(columns=adapted), without)
    same_state(result.state, validated[0].state)
    whole = simulate(ADAPTED, out=tmp_path / "whole")
    same_files(tmp_path / "run", tmp_path / "whole")
    assert whole.adapted == result.adapted


def test_the_plan_counts_both_evaluations():
    plan = plan_run(ADAPTED)
    assert plan.evaluation.clients == 12 and plan.evaluation.waves == 2
    assert plan.adaptation.clients == 6


def test_a_sample_of_clients_without_validation_examples_is_refused():
    few = Partition.from_lists([[0, 1], [2, 3], [4]], [[0], [1], []], validation=[[], [], [5]])
    with pytest.raises(UserError, match="none of the clients that are evaluated has a validation example"):
        simulate(TINY, partition=few, evaluation={"clients": 2})


# ------------------------------------------------------------------------------------------------- an end


def still(**fields):
    """A run that learns nothing: its first evaluation is as good as any."""
    training = dataclasses.replace(SHARE.training, learning_rate=1e-9, **fields)
    evaluation = dataclasses.replace(SHARE.evaluation, every=1)
    return dataclasses.replace(SHARE, training=training, evaluation=evaluation)


@pytest.fixture(scope="module")
def early(tmp_path_factory):
    path = tmp_path_factory.mktemp("early") / "run"
    return simulate(still(stop=config.Stop(patience=2)), out=path), path


def test_the_best_is_the_first_of_equals_and_what_is_no_number_is_worst():
    def best(*values, metric="val_accuracy"):
        rows = [{"round": n, "clients_tested": 5, metric: value} for n, value in enumerate(values, 1)]
        rows.insert(1, {"round": 9, "clients_tested": None, metric: None})
        return best_evaluation(rows, metric)

    assert best(0.1, 0.3, 0.3, 0.2) == (2, 2)
    assert best(0.3, 0.1, 0.2, metric="val_loss") == (2, 1)
    assert best(float("nan"), 9.0, metric="val_loss") == (2, 0)
    assert best_evaluation([], "val_accuracy") is None


def test_a_run_ends_when_nothing_gets_better(early, capsys):
    result, path = early
    assert result.history["round"].tolist() == [1, 2, 3]
    assert json.loads((path / "ended.json").read_text()) == {"round": 3}
    code, out, _ = fedtp(capsys, "resume", str(path))
    assert code == 0
    assert "ended after round 3 of 6: val_accuracy was best after round 1, 2 evaluations before" in out
    assert f"go on with: fedtp resume {path} --further" in out
    assert len((path / "metrics.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("kill", [1, 2, 3])
def test_a_resume_ends_where_the_run_would_have(kill, early, tmp_path):
    settings = dataclasses.replace(still(stop=config.Stop(patience=2)), checkpoint=config.Checkpoint(every=1))
    with pytest.raises(Stopped):
        simulate(settings, out=tmp_path / "run", on_round=stop_after(kill))
    again = simulate(settings, out=tmp_path / "run", resume=True)
    same_state(again.state, early[0].state)
    for name in ("metrics.csv", "clients.csv", "ended.json"):
        assert (tmp_path / "run" / name).read_bytes() == (early[1] / name).read_bytes()


def test_further_goes_to_the_last_round(early, tmp_path):
    path = shutil.copytree(early[1], tmp_path / "run")
    result = simulate(early[0].config, out=path, resume="further")
    whole = simulate(still())
    same_state(result.state, whole.state)
    pd.testing.assert_frame_equal(result.history, whole.history)
    assert not (path / "ended.json").exists()


def test_patience_that_never_ends_a_run_is_told():
    with pytest.warns(UserWarning, match=r"training\.stop\.patience: 5 has no effect, since the last of 6"):
        simulate(still(stop=config.Stop(patience=5)))


# --------------------------------------------------------------------------------------------- the best round


def keeping(metric="val_accuracy", **checkpoint):
    return dataclasses.replace(still(), checkpoint=config.Checkpoint(best=metric, **checkpoint))


def check_best(best, metric="val_accuracy"):
    assert best.history["round"].tolist() == [1]
    first = simulate(dataclasses.replace(still(rounds=1)))
    same_state(best.state, first.state)
    pd.testing.assert_frame_equal(best.clients, first.clients)
    assert best.accuracy == first.accuracy
    same_state(best.variables(2), first.variables(2))


def test_the_state_of_the_best_round_is_kept():
    result = simulate(keeping())
    check_best(result.best)
    assert result.history["round"].max() == 6
    with pytest.raises(AssertionError):
        same_state(result.state, result.best.state)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "run"
    return simulate(keeping(every=2), out=path), path


def test_it_is_kept_in_the_folder(kept, tmp_path):
    result, path = kept
    assert [folder.name for folder in (path / "best").iterdir()] == ["1"]
    check_best(Result.load(path).best)
    result.save(tmp_path / "saved")
    check_best(Result.load(tmp_path / "saved").best)
    check_best(simulate(result.config, out=path, resume=True).best)


def test_a_resumed_run_knows_its_best_round(kept, tmp_path):
    with pytest.raises(Stopped):
        simulate(keeping(every=2), out=tmp_path / "run", on_round=stop_after(5))
    check_best(Result.load(tmp_path / "run").best)
    check_best(simulate(keeping(every=2), out=tmp_path / "run", resume=True).best)
    same_files(tmp_path / "run", kept[1])


def test_a_better_one_takes_its_place(tmp_path):
    """A run that learns: its best round by the loss is the last one, however often it was stopped."""
    settings = dataclasses.replace(
        SHARE,
        evaluation=dataclasses.replace(SHARE.evaluation, every=1),
        checkpoint=config.Checkpoint(every=1, best="val_loss"),
    )
    for rounds in (2, 3, 5):
        with pytest.raises(Stopped):
            simulate(settings, out=tmp_path / "run", resume=rounds > 2, on_round=stop_after(rounds))
    result = simulate(settings, out=tmp_path / "run", resume=True)
    best = int(result.history["val_loss"].argmin()) + 1
    assert best > 1
    assert [folder.name for folder in (tmp_path / "run" / "best").iterdir()] == [str(best)]
    loaded = Result.load(tmp_path / "run").best
    assert len(loaded.history) == best
    same_state(loaded.state, result.best.state)


def test_one_of_a_later_round_comes_again(kept, tmp_path):
    """What was kept after the checkpoint that a run goes on from is made anew."""
    path = shutil.copytree(kept[1], tmp_path / "run")
    (path / "best" / "1").rename(path / "best" / "5")
    shutil.rmtree(path / "checkpoints" / "6")
    with pytest.raises(UserError, match=r"result\.best: none was kept"):
        _ = Result.load(path).best
    simulate(keeping(every=2), out=path, resume=True)
    assert not list((path / "best").iterdir())  # round 5 is not the best in truth


def test_it_is_told_of(capsys, tmp_path, monkeypatch):
    from fedtp_jax.config.plain import to_yaml

    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(to_yaml(keeping()))
    code, out, _ = fedtp(capsys, "run", "tiny.yaml", "--out", "run")
    assert code == 0
    row = pd.read_csv("run/metrics.csv").iloc[0]
    told = (
        f"best val_accuracy {row['val_accuracy']:.4f} after round 1: test accuracy {row['test_accuracy']:.4f}"
    )
    assert told in out
    assert told[1:] in (tmp_path / "run" / "report.html").read_text()
    _, out, _ = fedtp(capsys, "resume", "run", "--json")
    told = json.loads(out)
    assert (told["best_round"], told["val_accuracy"]) == (1, pytest.approx(row["val_accuracy"], abs=0.1))
