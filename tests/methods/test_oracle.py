"""The lane engine against plain loops, for ragged clients on layouts of lanes, devices and waves."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from marks import every_day
from oracle import World
from oracle_methods import METHODS
from ragged_clients import (
    CASES,
    CLASSES,
    CLIENTS,
    ROUNDS,
    SEED,
    SIZES,
    TRAINING,
    VIT,
    federation_of,
    make_simulator,
)

from fedtp_jax import config
from fedtp_jax.data.dataset import Dataset, Examples
from fedtp_jax.engine.schedule import sample_cohort
from fedtp_jax.engine.workbench import Workbench
from fedtp_jax.evaluation.metrics import summarize
from fedtp_jax.learning.method import own
from fedtp_jax.simulation.data_spec import DataSpec

LAYOUTS = {
    "one-lane": {},
    "three-lanes": {"lanes": 3},
    "two-devices-two-lanes": {"devices": 2, "lanes": 2},
    "waves-of-2": {"wave_size": 2},
    "waves-of-3-two-devices": {"wave_size": 3, "devices": 2, "lanes": 2},
}
ELSEWHERE = [
    ("fedtp", "three-lanes"),
    ("fedtp", "waves-of-2"),
    ("fedtp", "two-devices-two-lanes"),
    ("fedproto", "waves-of-3-two-devices"),
    ("pfedme", "two-devices-two-lanes"),
    ("apfl, adaptive", "two-devices-two-lanes"),
    ("perfedavg", "waves-of-2"),
    ("scaffold", "waves-of-3-two-devices"),
    ("vanilla", "waves-of-3-two-devices"),
    ("fedrep", "three-lanes"),
    ("fedbabu", "two-devices-two-lanes"),
    ("ditto", "waves-of-3-two-devices"),
    ("pefll", "waves-of-3-two-devices"),
    ("fedtp, uniform, with replacement", "waves-of-2"),
    ("scaffold, named cohorts", "two-devices-two-lanes"),
    ("fedala", "three-lanes"),
    ("fedala", "waves-of-3-two-devices"),
    ("fedamp", "waves-of-3-two-devices"),
    ("fedpac", "waves-of-2"),
    ("fedpac", "two-devices-two-lanes"),
]


simulator = functools.cache(make_simulator)


def mixed_dtypes(name):
    """Adam as optax writes it computes float ** int, which the strict promotion of the tests forbids."""
    return jax.numpy_dtype_promotion("standard" if "adam" in name else "strict")


@functools.cache
def run_engine(name, **options):
    """(simulator, state after the rounds, result of the last): numbers of one run, computed once."""
    with mixed_dtypes(name):
        sim = simulator(name, **options)
        state = sim.init()
        for round in range(ROUNDS):
            state, result = sim.round(state, round, sim.prepare(round))
    return sim, state, result


@functools.cache
def run_oracle(name):
    """The plain loop's method after the rounds."""
    settings, (data, partition) = CASES[name], federation_of(name)
    with mixed_dtypes(name):
        task, _ = DataSpec.of(data, partition).build(settings)
    world = World(settings, task, data, partition)
    oracle = METHODS[config.name_of(settings.method)](world, settings.method)
    for round in range(ROUNDS):
        oracle.round(world.cohort(round), round)
    return world, oracle


def expected_leaves(oracle, clients=CLIENTS, classes=CLASSES):
    """(shared, rows, hypernetwork) as the engine's state holds them."""
    shared, kept = {**oracle.w, **getattr(oracle, "beside", {})}, getattr(oracle, "v", oracle.own)
    if hasattr(oracle, "theta"):
        trained = oracle.theta
        kept = {
            k: {**trained.get(k, oracle.initial), "client/has_trained": np.float32(k in trained)}
            for k in range(clients)
        }
    if hasattr(oracle, "prototypes"):
        nothing = np.zeros(VIT.dim)
        shared = {
            "prototypes/mean": np.stack([oracle.prototypes.get(c, nothing) for c in range(classes)]),
            "prototypes/clients": np.array([oracle.makers.get(c, 0) for c in range(classes)]),
        }
    rows = {path: np.stack([kept[k][path] for k in range(clients)]) for path in kept[0]}
    if hasattr(oracle, "z"):
        rows["client/embedding"] = np.stack([oracle.z[k] for k in range(clients)])
    if hasattr(oracle, "psi"):
        rows["client/embedding"] = np.stack([oracle.embedding(k) for k in range(clients)])
    return shared, rows, {**getattr(oracle, "phi", {}), **getattr(oracle, "psi", {})}


RUNS = [*((name, "one-lane") for name in CASES), *ELSEWHERE]
OFTEN = (  # elsewhere
    *("scaffold", "vanilla", "fedbabu", "ditto", "pefll", "fedamp"),
    *("fedtp, uniform, with replacement", "scaffold, named cohorts"),
)
SELDOM = [  # other cases have their parts
    *((name, "one-lane") for name in ("fedavg", "local", "vanilla", "fedtp", "fedtp_per")),
    *((name, "one-lane") for name in ("fedtp, sparse", "fedtp_rod", "fedtp on text")),
    *((name, "one-lane") for name in ("fedbn", "fedbn, shared statistics", "fedper on text", "apfl")),
    *((name, "one-lane") for name in ("lg_fedavg", "fedrep", "fedbabu", "ditto", "pefll", "pefll on text")),
    *((name, "one-lane") for name in ("fedtp, uniform, with replacement", "scaffold, named cohorts")),
    *((name, "one-lane") for name in ("fedperfix", "fedperfix on text", "fedala", "fedamp")),
    *(pair for pair in ELSEWHERE if pair[0] not in OFTEN and pair != ELSEWHERE[2]),
]


@pytest.mark.parametrize(
    ("name", "layout"), every_day(RUNS, [run for run in RUNS if run not in SELDOM], SELDOM[::2])
)
def test_engine_equals_plain_loop(name, layout):
    sim, state, result = run_engine(name, **LAYOUTS[layout])
    world, oracle = run_oracle(name)
    sim.embeddings.settle(state)
    found = state.shared, own(state.rows.take(np.arange(CLIENTS))), state.generator
    for leaves, expected in zip(found, expected_leaves(oracle), strict=True):
        assert set(leaves) == set(expected)
        for path, leaf in leaves.items():
            np.testing.assert_allclose(leaf, expected[path], atol=3e-6, rtol=1e-5, err_msg=path)
    np.testing.assert_allclose(result.train_loss, oracle.train_loss, rtol=1e-5)

    if layout not in ("one-lane", "three-lanes"):
        return
    sums = sim.evaluate(state)
    assert sums.examples.tolist() == list(range(CLIENTS))
    for k in range(1, CLIENTS):
        right, loss = world.evaluate(k, functools.partial(oracle.predict, k))
        np.testing.assert_allclose(sums.measured[k], right, atol=1e-6)
        np.testing.assert_allclose(sums.loss[k], loss, rtol=2e-5)
    accuracy = summarize(sums)
    assert (accuracy.clients, accuracy.clients_without_test) == (CLIENTS - 1, 1)
    assert accuracy.pooled == sums.measured.sum() / sums.examples.sum()


def test_same_seed_same_bits_and_other_seed_other_result():
    def leaves(**options):
        state = run_engine("fedtp", **options)[1]
        return jax.tree.leaves(state._replace(rows=state.rows.take(np.arange(CLIENTS))))

    first, other = leaves(**LAYOUTS["two-devices-two-lanes"]), leaves(seed=SEED + 1)
    run_engine.cache_clear()
    again = leaves(**LAYOUTS["two-devices-two-lanes"])
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, c) for a, c in zip(first, other, strict=True))


@pytest.mark.parametrize(
    "name",
    every_day(
        [
            *("fedtp", "fedtp, sparse", "fedproto", "pfedme", "scaffold", "apfl, adaptive", "perfedavg"),
            *("ditto", "fedala", "fedamp", "fedpac", "pefll"),
        ],
        ["fedtp, sparse", "scaffold", "ditto", "fedala", "fedpac"],
    ),
)
def test_client_with_numbers_not_finite_is_left_out(name):
    cohort = sample_cohort(SEED, 0, np.arange(CLIENTS), TRAINING.cohort_size)
    bad = int(cohort[1])
    start = simulator(name).init().rows.take(np.array([bad]))

    def with_client(k, value):
        """A simulator whose client k holds examples of the given brightness."""
        data, partition = federation_of(name)
        x = data.train.x.astype(np.float32) / 255
        x[partition.train[k]] = value
        return make_simulator(
            name, Dataset("broken", Examples(x, data.train.y), data.test, CLASSES), devices=2
        )

    sim = with_client(bad, np.nan)
    state, result = sim.round(sim.init(), 0, sim.prepare(0))
    assert (result.clients, result.excluded) == (5, (bad,))
    everything = state._replace(rows=state.rows.take(np.arange(CLIENTS)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.device_get(everything)))
    if name != "fedtp":  # whose embeddings step all, be it along nothing but their decay
        for path, row in state.rows.take(np.array([bad])).items():
            np.testing.assert_array_equal(row, start[path])

    others = [k for k in cohort if k != bad]
    sim.bench.examples = with_client(bad, 0.0).bench.examples
    others = np.array(others)
    wave = sim.prepare_wave(others, _batches(sim, others), others)
    expected, _ = sim.round(sim.init(), 0, [wave])
    for a, b in zip(jax.tree.leaves(state.shared), jax.tree.leaves(expected.shared), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    for a, b in zip(jax.tree.leaves(state.generator), jax.tree.leaves(expected.generator), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)

    sim.bench.examples = dataclasses.replace(sim.bench.examples, x=sim.bench.examples.x * np.nan)
    with pytest.raises(
        FloatingPointError, match=r"round 1: all 5 clients of the cohort \(.*\) returned.*learning_rate"
    ):
        sim.round(sim.init(), 0, sim.prepare(0))


def _batches(sim, cohort):
    """The steps of these clients in round 0."""
    return [sim._batches(0, int(k), int(sim.participation.local_steps[k])) for k in cohort]


@pytest.mark.slow
def test_auto_lanes_on_an_accelerator_fill_the_work_and_fit_the_memory(monkeypatch):
    monkeypatch.setattr(Workbench, "on_accelerator", True)
    sim = make_simulator("fedtp")
    wide = sim.layout
    mean, longest = np.mean([2 * -(-size // 4) for size in SIZES]), 2 * 6
    assert wide.lanes == -(-int(np.ceil(mean * 5)) // longest) == 3
    needs = {
        lanes: sim._of_program(sim.programs.num_bytes, dataclasses.replace(wide, lanes=lanes))
        for lanes in (2, 3)
    }
    assert needs[2] < needs[3]
    monkeypatch.setattr(Workbench, "memory", lambda self: needs[3] - 1)
    sim = make_simulator("fedtp")
    assert sim.layout.lanes == 2
    programs = sim.programs.count
    state = sim.init()
    for round in range(ROUNDS):
        state, _ = sim.round(state, round, sim.prepare(round))
    # init, zeros, aggregate, embeddings: the program that was measured is used
    assert sim.programs.count == programs + 4
    expected = run_oracle("fedtp")[1].w["params/head/kernel"]
    np.testing.assert_allclose(state.shared["params/head/kernel"], expected, atol=3e-6)
