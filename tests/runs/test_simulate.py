"""simulate(): results, run folders, resume after any stop, mistakes leave no trace."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from tiny_run import AS_RUN, TINY, Stopped, same_files, same_state, stop_after

from fedtp_jax import Result, UserError, config, from_arrays, load_config, simulate
from fedtp_jax.config.plain import to_yaml
from fedtp_jax.data.sources import load


def test_result(whole):
    result, _ = whole
    history, clients = result.history, result.clients
    assert history["round"].tolist() == [1, 2, 3, 4, 5, 6]
    assert history["test_accuracy"].notna().tolist() == [False, True] * 3
    assert (history["clients"] == 3).all()
    assert (history["excluded"] == 0).all()
    assert clients["client"].tolist() == list(range(6))
    pooled = clients["test_correct"].sum() / clients["test_examples"].sum()
    a = result.accuracy
    assert a["last"] == pytest.approx(pooled) == pytest.approx(history["test_accuracy"].iloc[-1])
    assert a["client_mean"] == pytest.approx(clients["test_accuracy"].mean())
    assert a["worst_decile"] == pytest.approx(clients["test_accuracy"].min())
    last_two = history["test_accuracy"].dropna().tail(2)
    assert (a["mean"], a["std"]) == pytest.approx((last_two.mean(), last_two.std(ddof=0)))
    assert a["evaluations"] == 2
    assert result.compiled["programs"] == 6  # init, zeros, train, aggregate, embeddings, evaluate
    assert "fedtp" in repr(result)


def test_variables_are_what_the_client_is_evaluated_with(whole):
    result, _ = whole
    data = load(TINY.data)
    for client in (0, 5):
        shard = result.partition.test[client]
        x = (data.test.x[shard].astype(np.float32) / 255 - np.float32(data.mean)) / np.float32(data.std)
        logits = np.asarray(result.model.apply(result.variables(client), x))
        np.testing.assert_allclose(result.predict(client, data.test.x[shard]), logits, atol=1e-6)
        correct = (logits.argmax(-1) == data.test.y[shard]).sum()
        assert correct == result.clients["test_correct"][client]
    with pytest.raises(UserError, match="client: got 6, expected a whole number from 0 to 5"):
        result.variables(6)


def test_personalized_leaves_differ_and_shared_ones_do_not(whole):
    result, _ = whole
    a, b = result.variables(0)["params"], result.variables(1)["params"]
    query = ("block_0", "attention", "query", "kernel")
    for word in query:
        a, b = a[word], b[word]
    assert not np.array_equal(a, b)
    head = [np.asarray(result.variables(k)["params"]["head"]["kernel"]) for k in (0, 1)]
    np.testing.assert_array_equal(*head)


def test_the_run_folder_is_complete(whole):
    _, path = whole
    names = {p.name for p in path.iterdir()}
    assert names == {
        "config.yaml",
        "environment.json",
        "partition.npz",
        "metrics.csv",
        "timing.csv",
        "clients.csv",
        "checkpoints",
        "report.html",
    }
    assert load_config(path / "config.yaml") == AS_RUN
    assert sorted(p.name for p in (path / "checkpoints").iterdir()) == ["4", "6"]


@pytest.mark.parametrize("stop", [3, 4, 5])
def test_resume_equals_never_stopped(stop, whole, tmp_path):
    result, path = whole
    with pytest.raises(Stopped):
        simulate(TINY, out=tmp_path / "run", on_round=stop_after(stop))
    resumed = simulate(TINY, out=tmp_path / "run", resume=True)
    same_files(path, tmp_path / "run")
    same_state(result.state, resumed.state)
    pd.testing.assert_frame_equal(result.history, resumed.history)


def test_resume_of_a_finished_run_changes_nothing(whole, tmp_path):
    result, path = whole
    shutil.copytree(path, tmp_path / "run")
    again = simulate(TINY, out=tmp_path / "run", resume=True)
    same_files(path, tmp_path / "run")
    same_state(result.state, again.state)
    assert again.accuracy == result.accuracy


def test_resume_refuses_another_configuration_even_an_edited_file(whole, tmp_path):
    _, path = whole
    shutil.copytree(path, tmp_path / "run")
    other = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, dim=16))
    (tmp_path / "run" / "config.yaml").write_text(to_yaml(other))
    with pytest.raises(UserError, match=r"another configuration \(model\.dim: 8 there, 16 here\)"):
        simulate(other, out=tmp_path / "run", resume=True)
    with pytest.raises(UserError, match="not the folder of a run"):
        simulate(TINY, out=tmp_path, resume=True)
    with pytest.raises(UserError, match="resume: needs the folder"):
        simulate(TINY, resume=True)


@pytest.mark.slow
def test_resume_refuses_other_data_and_another_partition(tmp_path):
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (60, 4, 4, 1)).astype(np.uint8)
    y = np.arange(60) % 3
    lists = {"train": {"0": list(range(20)), "1": list(range(20, 48))}, "test": {"0": [0, 1], "1": [2, 3]}}
    file = tmp_path / "lists.json"
    file.write_text(json.dumps(lists))
    settings = dataclasses.replace(
        TINY,
        partition=config.PartitionFile(str(file)),
        training=config.Training(rounds=2, cohort_size=2),
        checkpoint=config.Checkpoint(every=1),
    )
    with pytest.raises(Stopped):
        simulate(settings, data=from_arrays(x, y), out=tmp_path / "run", on_round=stop_after(2))
    x[3] += 1
    with pytest.raises(UserError, match="was run on another data"):
        simulate(settings, data=from_arrays(x, y), out=tmp_path / "run", resume=True)
    x[3] -= 1
    lists["train"]["0"] = lists["train"]["0"][1:]
    file.write_text(json.dumps(lists))
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="was run on another partition"):
        simulate(settings, data=from_arrays(x, y), out=tmp_path / "run", resume=True)
    after = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert after == before  # a refused resume changes nothing


@pytest.mark.slow
def test_resume_refuses_other_normalisation(tmp_path):
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (60, 4, 4, 1)).astype(np.uint8), np.arange(60) % 3
    settings = dataclasses.replace(
        TINY,
        partition=config.Iid(clients=3),
        training=config.Training(rounds=2, cohort_size=2),
        checkpoint=config.Checkpoint(every=1),
    )
    with pytest.raises(Stopped):
        simulate(settings, data=from_arrays(x, y), out=tmp_path / "run", on_round=stop_after(1))
    with pytest.raises(UserError, match="was run on another std"):
        data = from_arrays(x, y, std=0.01)
        simulate(settings, data=data, out=tmp_path / "run", resume=True)


@pytest.mark.slow
def test_personal_rows_resume_on_two_devices(tmp_path):
    """Six clients on two devices: rows that could be split must come back whole."""
    settings = dataclasses.replace(
        TINY, method=config.Vanilla(), engine=config.Engine(devices=2, wave_size=2)
    )
    result = simulate(settings, out=tmp_path / "whole")
    with pytest.raises(Stopped):
        simulate(settings, out=tmp_path / "run", on_round=stop_after(3))
    resumed = simulate(settings, out=tmp_path / "run", resume=True)
    same_files(tmp_path / "whole", tmp_path / "run")
    same_state(result.state, resumed.state)


def test_loading_a_live_run_does_not_disturb_it(tmp_path):
    def look(progress):
        if progress.round >= 2:
            assert Result.load(tmp_path / "run").history["round"].max() <= progress.round

    settings = dataclasses.replace(TINY, checkpoint=config.Checkpoint(every=1))
    assert len(simulate(settings, out=tmp_path / "run", on_round=look).history) == 6


def test_keyboard_interrupt_in_the_callback_saves_first(whole, tmp_path):
    _, path = whole

    def stop(progress):
        if progress.round == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(TINY, out=tmp_path / "run", on_round=stop)
    assert (tmp_path / "run" / "checkpoints" / "3").is_dir()
    rounds = []
    simulate(TINY, out=tmp_path / "run", resume=True, on_round=lambda p: rounds.append(p.round))
    assert rounds == [4, 5, 6]
    same_files(path, tmp_path / "run")


def test_a_run_never_overwrites_a_folder(whole, tmp_path):
    _, path = whole
    with pytest.raises(UserError, match="fedtp resume"):
        simulate(TINY, out=path)
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="not an empty folder"):
        simulate(TINY, out=tmp_path)


@pytest.mark.slow
def test_own_arrays_with_clients_of_unequal_data():
    random = np.random.default_rng(0)
    x = random.normal(size=(90, 4, 4, 1)).astype(np.float32)
    y = random.integers(0, 3, 90)
    hospitals = np.repeat(["ann", "bob", "cy"], [60, 20, 10])
    data = from_arrays(x, y, groups=hospitals, num_classes=3)
    settings = dataclasses.replace(
        TINY, partition=config.Natural(), training=dataclasses.replace(TINY.training, rounds=2)
    )
    result = simulate(settings, data=data)
    assert len(result.clients) == 3
    assert isinstance(result.config.data, config.Arrays)
    with pytest.raises(UserError, match=r"partition\.name: 'pathological' would ignore the groups"):
        simulate(TINY, data=data)


@pytest.mark.slow
def test_clients_without_test_data_are_counted_and_left_out():
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 4, 4, 1)).astype(np.float32)
    y = random.integers(0, 2, 40)
    groups = np.repeat([0, 1, 2, 3], 10)
    tested = groups < 3
    data = from_arrays(x, y, x[tested], y[tested], groups=groups, groups_test=groups[tested], num_classes=2)
    settings = dataclasses.replace(
        TINY, partition=config.Natural(), training=dataclasses.replace(TINY.training, rounds=2)
    )
    result = simulate(settings, data=data)
    last = result.history.iloc[-1]
    assert (last["clients_tested"], last["clients_without_test"]) == (3, 1)
    assert np.isnan(result.clients["test_accuracy"][3])
    assert result.accuracy["client_mean"] == pytest.approx(result.clients["test_accuracy"][:3].mean())


def test_learning_happens():
    """Four rounds of FedAvg on digits beat chance by far: the whole chain carries a signal."""
    settings = dataclasses.replace(
        TINY,
        partition=config.Iid(clients=4),
        method=config.FedAvg(),
        model=config.Vit(patch_size=2, dim=16, depth=1, heads=2, dim_head=8, mlp_dim=16, dropout=0.0),
        training=config.Training(rounds=6, cohort_size=4, local_epochs=4, learning_rate=0.05),
    )
    assert simulate(settings).accuracy["last"] > 0.6


def test_a_sample_of_clients_is_evaluated_as_all_of_them_would_be(whole):
    result, _ = whole
    sample = dataclasses.replace(TINY, evaluation=dataclasses.replace(TINY.evaluation, clients=2))
    sampled = simulate(sample)
    tested = sampled.clients["test_accuracy"].notna()
    assert tested.sum() == 2
    # fewer clients may be tested in other batches: sums in another order
    pd.testing.assert_frame_equal(sampled.clients[tested], result.clients[tested], rtol=1e-6)
    assert sampled.history["clients_tested"].dropna().eq(2).all()
    assert sampled.history["clients_without_test"].dropna().eq(0).all()
    with pytest.raises(UserError, match=r"evaluation\.clients: 7 is more than the 6 clients"):
        simulate(dataclasses.replace(TINY, evaluation=config.Evaluation(clients=7)))


def test_two_runs_never_share_a_folder(tmp_path):
    run = tmp_path / "run"
    refused = r"run: another process is at work on this run \(pid \d+ on .*, since 20"

    def meanwhile(progress):
        if progress.round == 1:
            for before, after in (("config.yaml", "not written yet"), ("not written yet", "config.yaml")):
                (run / before).rename(run / after)
                with pytest.raises(UserError, match=refused):
                    simulate(TINY, out=run, resume=True)
            with pytest.raises(UserError, match="run: holds no checkpoint yet; wait for the run's first"):
                Result.load(run)
        if progress.round == 5:  # the first is on disk for certain before the second is written
            assert Result.load(run).history["round"].max() in (2, 4)  # a reader may look

    assert len(simulate(TINY, out=run, on_round=meanwhile).history) == 6
    assert len(simulate(TINY, out=run, resume=True).history) == 6  # nobody holds it any more
