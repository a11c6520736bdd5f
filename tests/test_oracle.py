"""The lane engine against a plain loop, for ragged clients on every layout of lanes, devices and waves."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import Oracle

from fedtp_jax import config, engine
from fedtp_jax.data.federated import Dataset, Examples, Partition, Shards
from fedtp_jax.methods import Task, make_method
from fedtp_jax.metrics import summarize
from fedtp_jax.models.hypernetwork import Hypernetwork
from fedtp_jax.models.vit import Vit
from fedtp_jax.rounds import Simulator
from fedtp_jax.schedule import sample_cohort
from fedtp_jax.workbench import Workbench

SIZES = (1, 9, 16, 3, 24, 7, 12)  # with batches of 4: single examples, full and ragged last batches
CLIENTS, ROUNDS, SEED = len(SIZES), 3, 5
TRAINING = config.Training(
    rounds=ROUNDS,
    cohort_size=5,
    local_epochs=2,
    batch_size=4,
    learning_rate=0.05,
    weight_decay=1e-3,
)
MODEL = Vit(3, patch_size=2, dim=8, depth=1, heads=2, dim_head=4, mlp_dim=12, dropout=0.2)
METHODS = {
    "fedavg": config.FedAvg(),
    "fedprox": config.FedProx(mu=0.5),
    "local": config.Local(),
    "fedper": config.FedPer(),
    "vanilla": config.Vanilla(),
    "fedtp": config.FedTP(hypernetwork=config.Hypernetwork(embedding=6, hidden=10, layers=2)),
}


def federation():
    """Random images, [M, 4, 4, 1] uint8, of which client k holds SIZES[k] for training and k for testing."""
    random = np.random.default_rng(0)

    def split(sizes):
        count = sum(sizes)
        x = random.integers(0, 256, (count, 4, 4, 1)).astype(np.uint8)
        y = random.integers(0, 3, count).astype(np.int32)
        order, ends = random.permutation(count), np.cumsum([0, *sizes])
        lists = [order[a:b] for a, b in itertools.pairwise(ends)]
        return Examples(x, y), Shards.from_lists(lists)

    train, train_shards = split(SIZES)
    test, test_shards = split(range(CLIENTS))  # client 0 has no test examples
    return Dataset("random", train, test, 3, (0.5,), (0.25,)), Partition(train_shards, test_shards)


def simulator(name, devices=1, seed=SEED, **layout):
    data, partition = federation()
    settings = config.SimulationConfig(seed=seed, training=TRAINING, engine=config.Engine(**layout))
    task = Task(MODEL, jax.ShapeDtypeStruct((1, *data.input_shape), np.float32), 3, CLIENTS, TRAINING)
    method = make_method(METHODS[name], task)
    return Simulator(settings, task, method, data, partition, engine.make_mesh(devices)), data, method


def rebuilt(sim, data, devices=1):
    """The same simulator on other data."""
    return Simulator(sim.config, sim.task, sim.method, data, sim.partition, engine.make_mesh(devices))


def run_engine(sim, state):
    for round in range(ROUNDS):
        state, result = sim.round(state, round, sim.prepare(round))
    return state, result


@pytest.fixture(scope="module")
def oracle_results():
    """{method: final server of the plain loop}, each computed once."""
    results = {}

    def get(name):
        if name not in results:
            results[name] = _run_oracle(name)
        return results[name]

    return get


def _run_oracle(name):
    sim, data, _ = simulator(name)
    state = jax.device_get(sim.init())
    h = METHODS["fedtp"].hypernetwork
    shapes = dict.fromkeys(("query", "key", "value"), (8, 8))
    shapes = {f"params/block_0/attention/{p}/kernel": shape for p, shape in shapes.items()}
    hypernetwork = Hypernetwork(shapes, CLIENTS, h.embedding, h.hidden, h.layers)
    x = (jnp.asarray(data.train.x, jnp.float32) / 255 - 0.5) / 0.25
    mu = METHODS["fedprox"].mu if name == "fedprox" else 0.0
    oracle = Oracle(
        name, MODEL, hypernetwork, x, jnp.asarray(data.train.y), sim.partition.train, TRAINING, SEED, mu
    )
    own = {k: {p: jnp.asarray(leaf[k]) for p, leaf in state.personal.items()} for k in range(CLIENTS)}
    phi = {q: jnp.asarray(leaf) for q, leaf in state.generator.items()}
    server = {
        "w": {p: jnp.asarray(w) for p, w in state.shared.items()},
        "own": own,
        "phi": phi,
        "velocity": {q: jnp.zeros_like(leaf) for q, leaf in phi.items()},
    }
    for round in range(ROUNDS):
        cohort = sample_cohort(SEED, round, np.arange(CLIENTS), TRAINING.cohort_size)
        oracle.round(server, cohort.tolist(), round)
    return server


LAYOUTS = {
    "one-lane": {},
    "three-lanes": {"lanes": 3},
    "two-devices": {"devices": 2},
    "two-devices-two-lanes": {"devices": 2, "lanes": 2},
    "waves-of-2": {"wave_size": 2},
    "waves-of-3-two-devices": {"wave_size": 3, "devices": 2, "lanes": 2},
}
CASES = [
    *[(name, "one-lane") for name in METHODS],
    *[(name, layout) for name in ("fedavg", "fedtp") for layout in LAYOUTS if layout != "one-lane"],
    ("vanilla", "waves-of-3-two-devices"),
]


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_engine_equals_plain_loop(name, layout, oracle_results):
    sim, _, _ = simulator(name, **LAYOUTS[layout])
    state, _ = run_engine(sim, sim.init())
    server = oracle_results(name)
    for path, leaf in state.shared.items():
        np.testing.assert_allclose(leaf, server["w"][path], atol=3e-6, rtol=1e-5, err_msg=path)
    for path, leaf in state.personal.items():
        rows = np.stack([server["own"][k][path] for k in range(CLIENTS)])
        np.testing.assert_allclose(leaf, rows, atol=3e-6, rtol=1e-5, err_msg=path)
    for path, leaf in state.generator.items():
        np.testing.assert_allclose(leaf, server["phi"][path], atol=3e-6, rtol=1e-5, err_msg=path)


@pytest.mark.parametrize("name", ["fedavg", "fedtp"])
def test_same_seed_same_bits_and_other_seed_other_result(name):
    states = []
    for seed in (SEED, SEED, SEED + 1):
        sim, _, _ = simulator(name, devices=2, seed=seed)
        states.append(jax.tree.leaves(jax.device_get(run_engine(sim, sim.init())[0])))
    for a, b in zip(states[0], states[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, c) for a, c in zip(states[0], states[2], strict=True))


@pytest.mark.parametrize("layout", ["one-lane", "three-lanes", "waves-of-3-two-devices"])
def test_evaluation_equals_plain_prediction(layout):
    sim, data, method = simulator("fedtp", **LAYOUTS[layout])
    state = sim.init()
    sums = sim.evaluate(state)
    x = (jnp.asarray(data.test.x, jnp.float32) / 255 - 0.5) / 0.25
    shared, rows = method.variables(state, jnp.arange(CLIENTS))
    for k in range(1, CLIENTS):
        own = {path: leaf[k] for path, leaf in rows.items()}
        shard = sim.partition.test[k]
        logits = np.asarray(method.predict({**shared, **own}, x[shard]).logits)
        y = data.test.y[shard]
        log_p = np.asarray(jax.nn.log_softmax(logits))[np.arange(len(y)), y]
        assert sums.correct[k] == (np.argmax(logits, -1) == y).sum()
        np.testing.assert_allclose(sums.loss[k], -log_p.sum(), rtol=1e-5)
    assert sums.examples.tolist() == list(range(CLIENTS))
    accuracy = summarize(sums)
    assert (accuracy.clients, accuracy.clients_without_test) == (CLIENTS - 1, 1)
    assert accuracy.pooled == sums.correct.sum() / sums.examples.sum()


def test_one_compile_per_program():
    sim, _, _ = simulator("fedtp", devices=2)
    state, _ = run_engine(sim, sim.init())
    sim.evaluate(state)
    programs = sim.programs.count
    state, _ = run_engine(sim, state)
    sim.evaluate(state)
    assert sim.programs.count == programs == 5  # init, zeros, train, aggregate, evaluate


def test_absent_clients_rows_stay_and_cohort_rows_change():
    sim, _, _ = simulator("vanilla")
    before = jax.device_get(sim.init().personal)
    state, _ = sim.round(sim.init(), 0, sim.prepare(0))
    cohort = sample_cohort(SEED, 0, np.arange(CLIENTS), TRAINING.cohort_size)
    for path, rows in state.personal.items():
        for k in range(CLIENTS):
            assert np.array_equal(rows[k], before[path][k]) == (k not in cohort), (path, k)


@pytest.mark.parametrize("name", ["fedavg", "fedtp", "vanilla"])
def test_client_with_numbers_not_finite_is_left_out(name):
    sim, _, _ = simulator(name, devices=2)
    cohort = sample_cohort(SEED, 0, np.arange(CLIENTS), TRAINING.cohort_size)
    bad = int(cohort[1])
    start = jax.device_get(sim.init())

    def with_client(k, value):
        """A simulator whose client k holds one example of the given brightness."""
        sim, data, _ = simulator(name, devices=2)
        x = data.train.x.astype(np.float32) / 255
        x[sim.partition.train[k]] = value
        data = Dataset("broken", Examples(x, data.train.y), data.test, 3)
        return rebuilt(sim, data, devices=2)

    sim = with_client(bad, np.nan)
    state, result = sim.round(sim.init(), 0, sim.prepare(0))
    assert (result.clients, result.excluded) == (5, 1)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.device_get(state)))
    for path, rows in state.personal.items():
        np.testing.assert_array_equal(rows[bad], start.personal[path][bad])

    others = [k for k in cohort if k != bad]
    sim = with_client(bad, 0.0)
    batches = {int(k): b for k, b in zip(cohort, _batches(sim, cohort), strict=True)}
    expected, _ = sim.round(
        sim.init(), 0, sim.prepare_batches(np.array(others), [batches[k] for k in others])
    )
    for a, b in zip(jax.tree.leaves(state.shared), jax.tree.leaves(expected.shared), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    for a, b in zip(jax.tree.leaves(state.generator), jax.tree.leaves(expected.generator), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def _batches(sim, cohort):
    from fedtp_jax import rng
    from fedtp_jax.schedule import shuffled_batches

    return [
        shuffled_batches(
            sim.partition.train[k],
            TRAINING.local_epochs,
            sim.layout.batch,
            rng.generator(SEED, rng.Purpose.BATCHES, 0, int(k)),
        )
        for k in cohort
    ]


def test_all_clients_not_finite_stops_the_run():
    sim, data, _ = simulator("fedavg")
    data = Dataset(
        "broken", Examples(np.full(data.train.x.shape, np.nan, np.float32), data.train.y), data.test, 3
    )
    sim = rebuilt(sim, data)
    with pytest.raises(FloatingPointError, match=r"all 5 clients.*learning_rate"):
        sim.round(sim.init(), 0, sim.prepare(0))


def test_auto_lanes_on_an_accelerator_fill_the_work_and_fit_the_memory(monkeypatch, oracle_results):
    monkeypatch.setattr(Workbench, "on_accelerator", True)
    sim, _, _ = simulator("fedtp")
    wide = sim.layout
    mean, longest = np.mean([2 * -(-size // 4) for size in SIZES]), 2 * 6
    assert wide.lanes == -(-int(np.ceil(mean * 5)) // longest) == 3
    needs = {lanes: sim._bytes(dataclasses.replace(wide, lanes=lanes)) for lanes in (1, 2, 3)}
    assert needs[1] < needs[2] < needs[3]
    monkeypatch.setattr(Workbench, "memory", lambda self: needs[3] - 1)
    sim, _, _ = simulator("fedtp")
    assert sim.layout.lanes == 2
    programs = sim.programs.count
    state, _ = run_engine(sim, sim.init())
    assert sim.programs.count == programs + 3  # init, zeros, aggregate: the program that was measured is used
    np.testing.assert_allclose(
        state.shared["params/head/kernel"], oracle_results("fedtp")["w"]["params/head/kernel"], atol=3e-6
    )
