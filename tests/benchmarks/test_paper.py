"""The store of the paper's experiments: what is in it is not run again, and is compared as runs are."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from tiny_run import TINY

from benchmarks.paper import attention, novel, summaries
from benchmarks.paper.gap import lipschitz
from benchmarks.paper.items import ITEMS, Item
from benchmarks.paper.run import HERE, configs_of, groups_of, main, report, run_left
from benchmarks.paper.store import Store, claimed, key_of, told_of
from fedtp_jax import UserError, compare, simulate
from fedtp_jax.comparison.compared_run import ComparedRun
from fedtp_jax.config import FedAvg, Local, name_of
from fedtp_jax.config.load import from_dict
from fedtp_jax.config.plain import to_dict
from fedtp_jax.core import tree
from fedtp_jax.models.hypernetwork import Hypernetwork

ITEM = Item("tiny", "Tiny")


def test_every_item_has_its_sweep():
    bases = {"fashion_mnist", "shakespeare", "gap_task"}
    assert {*ITEMS} == {path.stem for path in HERE.glob("*.yaml")} - bases
    for item in ITEMS.values():
        seeds = {config.seed for config in configs_of(item, quick=False)}
        assert len(seeds) >= 3
        quick = configs_of(item, quick=True)
        assert {(c.training.rounds, c.evaluation.every, c.seed) for c in quick} == {(10, 5, 0)}


@pytest.mark.slow
def test_results_are_of_the_sweeps_beside_them():
    store = Store(HERE / "results")
    asked = {
        (key_of(config), config.seed) for item in ITEMS.values() for config in configs_of(item, quick=False)
    }
    runs = store.tables["runs"]
    assert {*zip(runs["run"], runs["seed"], strict=True)} == asked
    for name in ("evaluations", "clients"):
        table = store.tables[name]
        assert {*zip(table["run"], table["seed"], strict=True)} == asked
    for item in ITEMS.values():
        configs = configs_of(item, quick=False)
        compared = compare([store.compared_run(config) for config in configs])
        assert compared.to_csv() == (HERE / "results" / f"{item.name}.csv").read_text()
        if item.measured:
            groups = groups_of(item, configs)
            found = store.measured(item.name, groups)
            assert {*zip(found["run"], found["seed"], strict=True)} == {
                (key_of(*group), group[0].seed) for group in groups
            }
            assert len(found) == len(pd.read_csv(HERE / "results" / f"{item.name}_measured.csv"))


def test_keys_tell_settings_but_neither_seed_nor_machine():
    engine = dataclasses.replace(TINY.engine, lanes=3)
    assert key_of(TINY) == key_of(dataclasses.replace(TINY, seed=5, engine=engine))
    assert key_of(TINY) != key_of(dataclasses.replace(TINY, method=FedAvg()))


def test_what_is_told_of_a_run_is_what_differs_from_the_defaults():
    told = json.loads(told_of(from_dict({"model": {"name": "cnn"}, "training": {"rounds": 7}})))
    assert told["model.name"] == "cnn" and told["training.rounds"] == 7
    assert "training.batch_size" not in told and "seed" not in told


@pytest.mark.slow
def test_what_is_in_the_store_is_not_run_again(tmp_path, monkeypatch, capsys):
    configs = [TINY, dataclasses.replace(TINY, method=FedAvg())]
    store, runs = Store(tmp_path / "store"), tmp_path / "runs"
    assert run_left(ITEM, configs, store, runs) == []
    monkeypatch.setattr("benchmarks.paper.run.simulate", pytest.fail)
    again = Store(tmp_path / "store")
    assert run_left(ITEM, configs, again, runs) == []
    monkeypatch.undo()
    results = [simulate(config) for config in configs]
    stored = compare([again.compared_run(config) for config in configs])
    direct = compare(results)
    assert stored.sheet.rows == direct.sheet.rows
    np.testing.assert_allclose(stored.table["mean"], direct.table["mean"], atol=1e-5)
    report(ITEM, configs, again, tmp_path)
    assert "2 of 2 runs" in (tmp_path / "tiny.md").read_text()
    assert (tmp_path / "tiny.png").read_bytes().startswith(b"\x89PNG")


def test_what_another_process_is_at_is_left_to_it(tmp_path, capsys):
    store, runs = Store(tmp_path / "store"), tmp_path / "runs"
    other = dataclasses.replace(TINY, method=FedAvg())
    with claimed(runs / f"{key_of(other)}-0.lock") as free:
        assert free
        assert run_left(ITEM, [other, TINY], store, runs) == []
    assert "1 of 2: fedavg on pathological, seed 0: another process is at it" in capsys.readouterr().out
    assert [store.has(config) for config in (other, TINY)] == [False, True]
    elsewhere = Store(tmp_path / "store")
    assert run_left(ITEM, [other], elsewhere, runs) == []
    assert run_left(ITEM, [other], store, runs) == []  # read again before it is run
    assert store.has(other) and store.has(TINY)


@pytest.mark.slow
def test_a_failed_run_is_named_and_the_others_go_on(tmp_path, capsys):
    wild = dataclasses.replace(TINY.training, learning_rate=1e30, on_nonfinite="stop")
    configs = [dataclasses.replace(TINY, training=wild), TINY]
    store = Store(tmp_path)
    (failure,) = run_left(ITEM, configs, store, tmp_path / "runs")
    assert failure.startswith("1 of 2: fedtp on pathological, seed 0: ")
    assert [store.has(config) for config in configs] == [False, True]


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [(UserError("data.directory: gone"), 2, "data.directory: gone"), (KeyboardInterrupt(), 130, "stopped")],
)
def test_a_mistake_or_a_stop_is_one_message(raised, code, told, tmp_path, monkeypatch, capsys):
    def fail(*args, **options):
        raise raised

    monkeypatch.setattr("benchmarks.paper.run.simulate", fail)
    monkeypatch.setattr("benchmarks.paper.run.keep_programs", lambda: None)  # it is for the whole process
    with pytest.raises(SystemExit) as ended:
        main(["main_table_cnn", "--quick", "--out", str(tmp_path)])
    assert ended.value.code == code
    assert capsys.readouterr().err.startswith(told)


@pytest.mark.slow
def test_novel_clients_are_measured_by_kind_and_number_of_examples(tmp_path, monkeypatch):
    monkeypatch.setattr(novel, "EXAMPLES", (3, 6))
    few = dataclasses.replace(TINY.training, rounds=1, held_out=3)
    config = dataclasses.replace(TINY, training=few, method=FedAvg())
    found = novel.measure([simulate(config)])
    assert len(found) == 2 * 2 * 3  # kinds, numbers, modes: FedAvg's clients have nothing to fit
    assert found["accuracy"].between(0, 1).all()
    (same, shifted) = novel._owners(simulate(config)).values()
    assert np.sort(np.concatenate(same[1])).tolist() == np.sort(np.concatenate(shifted[1])).tolist()
    store = Store(tmp_path)
    for _ in range(2):  # the second time replaces the first
        store.add_measured("novel", [config], found)
    assert len(pd.read_csv(tmp_path / "novel_measured.csv")) == len(found)
    assert list(novel.table(found).columns) == ["clients", "method", "mode", 3, 6]
    assert len(novel.picture(found).axes) == 2


@pytest.mark.slow
def test_attention_is_compared_between_methods_and_between_clients(tmp_path, monkeypatch):
    monkeypatch.setattr(attention, "CLIENTS", 3)
    once = dataclasses.replace(TINY, training=dataclasses.replace(TINY.training, rounds=1))
    methods = FedAvg(), Local()
    configs = [dataclasses.replace(once, method=method, seed=seed) for seed in (0, 1) for method in methods]
    store = Store(tmp_path)
    store.add(
        simulate(configs[0]), 1.0, "elsewhere"
    )  # what has no folder here is run again, and kept as it was
    assert run_left(ITEMS["attention"], configs, store, tmp_path / "runs") == []
    monkeypatch.setattr("benchmarks.paper.run.simulate", pytest.fail)
    assert run_left(ITEMS["attention"], configs, store, tmp_path / "runs") == []
    assert store.machines(configs[:1]) == ["elsewhere"]
    found = pd.read_csv(tmp_path / "attention_measured.csv")
    assert len(found) == 2 * 3
    of = found.set_index(["seed", "one", "other"])["distance"]
    assert of[0, "fedavg", "fedavg"] == 0  # all clients have one model
    assert 0 < of[0, "fedavg", "local"] < 1
    pairs = "fedavg and local", "fedavg, between clients", "local, between clients"
    assert tuple(attention.table(found)["pair"]) == pairs
    assert attention.picture(found).axes
    assert (tmp_path / "attention_models.png").read_bytes().startswith(b"\x89PNG")


def _outcome(config, accuracy):
    """A run whose accuracy was `accuracy` at its every evaluation."""
    rounds = np.arange(config.evaluation.every, config.training.rounds + 1, config.evaluation.every)
    columns = "test_accuracy", "test_client_mean", "test_worst_decile"
    history = pd.DataFrame({"round": rounds, **dict.fromkeys(columns, accuracy), "clients_tested": 2})
    clients = pd.DataFrame({"client": [0, 1], "test_accuracy": [accuracy, accuracy]})
    told, name = to_dict(config), name_of(config.method)
    return ComparedRun(told, history, clients, lambda: repr(config.partition), None, name, ended=True)


def test_gains_are_points_over_fedavg_with_the_same_seed_and_alpha():
    configs = configs_of(ITEMS["parts"], quick=False)
    alone = {0: 0.5, 1: 0.6, 2: 0.7}
    outcomes = [
        _outcome(c, alone[c.seed] + (name_of(c.method) == "vanilla") * c.partition.alpha / 10)
        for c in configs
    ]
    (axes,) = summaries.gains(compare(outcomes)).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["5", "1", "0.5", "0.3", "0.1"]
    parts = [label.get_text() for label in axes.get_yticklabels()]
    assert (len(parts), parts[0], parts[8]) == (11, "query", "embeddings")
    told = [text.get_text() for text in axes.texts]
    assert told[:5] == ["+50.0 ± 0.0", "+10.0 ± 0.0", "+5.0 ± 0.0", "+3.0 ± 0.0", "+1.0 ± 0.0"]


def test_levels_show_every_seed_and_the_best_method_on_top():
    accuracies = {"fedavg": 0.6, "pfedme": 0.9, "vanilla": 0.8}
    configs = configs_of(ITEMS["main_table_pfedme"], quick=False)
    outcomes = [_outcome(c, accuracies[name_of(c.method)] + c.seed / 100) for c in configs]
    panels = summaries.levels(compare(outcomes)).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["pathological", "dirichlet"]
    for axes in panels:
        assert [label.get_text() for label in axes.get_yticklabels()] == ["fedavg", "vanilla", "pfedme"]
        seeds, mean = axes.lines[-2:]
        np.testing.assert_allclose(seeds.get_xdata(), [90, 91, 92])
        np.testing.assert_allclose(mean.get_xdata(), [91])


def test_a_lead_is_over_vanilla_with_the_same_seed():
    accuracies = {"vanilla": 0.8, "fedper": 0.9, "fedtp": 0.7}
    configs = configs_of(ITEMS["curves"], quick=False)
    outcomes = [_outcome(c, accuracies[name_of(c.method)] + c.seed / 100) for c in configs]
    compared = compare([o for o in outcomes if (o.where, o.seed) != ("fedper", 2)])
    lead = summaries.lead_of(compared, "fedper", "vanilla", *compared.sheet.columns)
    assert lead.columns.tolist() == [0, 1]
    np.testing.assert_allclose(lead, 10)
    table = summaries.lead_table(compared, "vanilla")
    assert table["101 to 200"].tolist()[:2] == [
        "+10.00 ± 0.00 (2 of 2 seeds)",
        "-10.00 ± 0.00 (0 of 3 seeds)",
    ]
    assert table["last round at which a seed is not ahead"].tolist()[:2] == ["none", "1500"]
    _, *lines = summaries.leads(compared).axes[0].lines
    assert [round(line.get_ydata()[-1]) for line in lines] == [10, -10, -10]


def test_clients_that_train_are_counted_apart_from_those_that_hold_the_data():
    outcomes = [_outcome(c, c.partition.clients / 2000) for c in configs_of(ITEMS["scaling"], quick=False)]
    same, each, adam = summaries.by_clients(compare(outcomes)).axes
    assert {tuple(line.get_xdata()) for line in same.lines} == {(10, 100, 1000), (100, 1000)}
    assert {tuple(line.get_xdata()) for line in (*each.lines, *adam.lines)} == {(10, 100, 1000)}
    np.testing.assert_allclose(same.lines[0].get_ydata(), [1, 10, 100])
    assert [len(axes.lines) for axes in (same, each, adam)] == [6, 6, 3]


@pytest.mark.parametrize("normalised", [False, True])
def test_lipschitz_constants_are_those_of_the_jacobian(normalised):
    shapes = {"a/kernel": (4, 3), "b/bias": (5,)}
    module = Hypernetwork(shapes, hidden=6, layers=2, spectral_norm=normalised)
    z = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    phi = module.init(jax.random.key(1), z)

    def generate(one):
        return jnp.concatenate([leaf.reshape(-1) for leaf in module.apply(phi, one[None]).values()])

    sizes = [np.linalg.norm(jax.jacobian(generate)(one), 2) for one in z]
    leaves = {path: np.asarray(leaf, float) for path, leaf in tree.flatten(phi).items()}
    found = lipschitz(leaves, z.astype(float), normalised)
    assert found["local"] == pytest.approx(np.mean(sizes), rel=1e-4)
    assert found["local_max"] == pytest.approx(np.max(sizes), rel=1e-4)
    assert found["bound"] >= found["local_max"]
