"""What every method owes on every model it supports: state, rows, weights, traffic, compiles, resume."""

import dataclasses
import re

import jax
import numpy as np
import pytest
from marks import every_day
from method_cases import CLASSES, CLIENTS, SEED, TEST, TRAIN, TRAINING, simulator

from fedtp_jax import config
from fedtp_jax.core.tree import num_bytes, rows_like, select
from fedtp_jax.engine.population import HAS_TRAINED
from fedtp_jax.engine.schedule import sample_cohort
from fedtp_jax.learning.method import EMBEDDING, OPTIMIZER, own
from fedtp_jax.learning.own_method import check_own_method
from fedtp_jax.methods import make_method
from fedtp_jax.simulation.round_result import describing

EVERYWHERE = (
    *("fedavg", "fedprox", "local", "fedper", "pfedme", "pfedhn"),
    *(
        "scaffold",
        "apfl",
        "perfedavg",
        "lg_fedavg",
        "fedrep",
        "fedbabu",
        "ditto",
        "fedala",
        "fedamp",
        "pefll",
        "fedtp_prior",
    ),
)
ATTENTION = ("vanilla", "fedtp", "fedtp_per", "fedperfix")
SUPPORTED = {
    "vit": (*EVERYWHERE, *ATTENTION, "fedbn", "fedrod", "fedtp_rod", "fedproto", "fedpac"),
    "cnn": (*EVERYWHERE, "fedrod", "fedproto", "fedpac"),
    "cnn_bn": (*EVERYWHERE, "fedbn", "fedrod", "fedproto", "fedpac"),
    "transformer": (*EVERYWHERE, *ATTENTION, "fedbn"),
    "lstm": EVERYWHERE,
    "cnn1d": (*EVERYWHERE, "fedrod", "fedproto", "fedpac"),
    "mlp": (*EVERYWHERE, "fedrod", "fedproto", "fedpac"),
}

compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, duration, **_: (
        compiled.append(event) if event.endswith("backend_compile_duration") else None
    )
)


def any_state(sim):
    """A state of the right structure; the true one, whose program takes long, is the oracle's to compare."""
    random, shapes = np.random.default_rng(1), sim.initial.server

    def leaves(of):
        draw = {path: 0.1 * random.standard_normal(leaf.shape, np.float32) for path, leaf in of.items()}
        squares = [path for path in of if path.endswith("/var") or path.startswith(OPTIMIZER)]
        return {path: abs(leaf) if path in squares else leaf for path, leaf in draw.items()}

    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    rows = sim.initial.population()
    rows.put(np.arange(CLIENTS), leaves(rows_like(sim.initial.row, CLIENTS)))
    return zeros._replace(
        shared=zeros.shared if "prototypes/mean" in shapes.shared else leaves(shapes.shared),
        rows=rows,
        generator=leaves(shapes.generator),
    )


def copied(state):
    """The state on the host, with {path: [N, ...]} for rows: a round consumes the state that it is given."""
    return jax.device_get(state._replace(rows=state.rows.take(np.arange(CLIENTS))))


def restored(sim, copy):
    """The inverse of `copied`."""
    rows = sim.initial.population()
    rows.put(np.arange(CLIENTS), copy.rows)
    if HAS_TRAINED in copy.rows:
        rows.trained[:] = copy.rows[HAS_TRAINED]
    return sim.place(copy._replace(rows=rows))


def same_bits(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


def bytes_that_travel(method, sim):
    """Of one client, (down, up): leaves that do not stay (SCAFFOLD: and their controls), or FedProto's sums.

    FedPAC: down the centroids, up the sums that they are made of, class means and a variance. PeFLL: both
    ways the network that describes and its gradient, the embedding and its cotangent.
    """
    model_leaves = sim.task.leaf_shapes()
    stays = {
        "local": ".",
        "fedper": "^params/head/",
        "fedperfix": "^params/head/|/adapter/",
        "fedrep": "^params/head/",
        "fedbabu": "^params/head/",
        "lg_fedavg": "^(?!params/head/)",
        "fedtp_per": "^params/head/",
        "fedbn": "norm",
        "vanilla": "(query|key|value)/kernel$",
        "fedamp": "^batch_stats/",
    }.get(method, "^nothing$")
    prototypes = 0
    if method in ("fedproto", "fedpac"):
        prototypes = CLASSES * model_leaves["params/head/kernel"].shape[0]
    if method == "fedproto":
        return (4 * (prototypes + CLASSES),) * 2
    times = {path: 1 + (method == "scaffold" and path.startswith("params/")) for path in model_leaves}
    leaves = sum(times[p] * leaf.size for p, leaf in model_leaves.items() if not re.search(stays, p))
    if method == "fedpac":
        return 4 * (leaves + prototypes + CLASSES), 4 * (leaves + prototypes + CLASSES + prototypes + 1)
    beside = num_bytes(describing(sim.method, sim.initial.one_client)) if method == "pefll" else 0
    return (4 * leaves + beside,) * 2


PAIRS = [(model, name) for model, names in SUPPORTED.items() for name in names]
EVERY_DAY = [  # each kind of method, and models that differ in kind
    *(("vit", name) for name in ("local", "fedtp", "fedproto", "pfedme")),
    *(("vit", name) for name in ("scaffold", "apfl", "ditto", "fedrep", "fedala", "fedpac")),
    *(
        ("cnn_bn", "fedbn"),
        ("transformer", "fedtp_per"),
        ("lstm", "fedper"),
        ("cnn_bn", "fedbabu"),
        ("cnn_bn", "fedamp"),
    ),
]


@pytest.mark.parametrize(("model", "method"), every_day(PAIRS, EVERY_DAY, PAIRS[::4]))
def test_method_keeps_its_contract(model, method):
    sim = simulator(method, model)
    check_own_method(sim.task, make_method(sim.config.method, sim.task), method)  # as one's own would be
    assert sim.traffic == bytes_that_travel(method, sim)

    whole = (model, method) == ("vit", "fedtp")  # from its own initial state, and killed with its programs
    state = sim.init() if whole else sim.place(any_state(sim))
    start, prepared = copied(state), list(sim.prepare(0))
    weights = np.concatenate([part.wave.facts.weight for part in prepared])
    assert weights.sum() == pytest.approx(1, abs=1e-6)
    state, result = sim.round(state, 0, prepared)
    first = copied(state)
    assert (result.clients, result.excluded, result.void) == (3, (), False)
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), of) for of in (start, first)]
    assert shapes[0] == shapes[1]

    cohort = sample_cohort(SEED, 0, np.arange(CLIENTS), 3)
    absent = np.setdiff1d(np.arange(CLIENTS), cohort)
    for path, rows in own(first.rows).items():
        if path != EMBEDDING:  # whose optimizer moves absent ones too, unless its steps are sparse
            np.testing.assert_array_equal(rows[absent], start.rows[path][absent], err_msg=path)
        if sim.method.description and path == EMBEDDING:
            continue  # computed when it is asked for
        moved = [not np.array_equal(rows[k], start.rows[path][k]) for k in cohort]
        assert any(moved), path  # not all: a ReLU may be dead at one client

    for path in select(first.shared, sim.method.roles, "fixed"):
        np.testing.assert_array_equal(first.shared[path], start.shared[path], err_msg=path)

    assert sim.evaluate(state).examples.tolist() == list(TEST)
    compiled.clear()
    programs = sim.programs.count
    with jax.transfer_guard("disallow"):  # what moves between host and devices is said
        state, _ = sim.round(state, 1, sim.prepare(1))
        sim.evaluate(state)
    assert (sim.programs.count, compiled) == (programs, [])
    # zeros, train, aggregate, evaluate; init; embeddings: their steps, or their description and its gradient;
    # mix
    beside = bool(sim.method.description) + (sim.method.mix is not None)
    assert programs == 4 + whole + (EMBEDDING in sim.initial.row) + beside

    if model == "vit":  # as if killed after the first round; the code is the same on every model
        again = simulator(method, model, share_with=None if whole else sim)
        resumed, _ = again.round(restored(again, first), 1, again.prepare(1))
        same_bits(copied(resumed), copied(state))


def test_every_method_and_model_is_covered():
    assert set(SUPPORTED["vit"]) == set(config.METHODS)
    assert set(SUPPORTED) == set(config.MODELS)


@pytest.mark.slow
@pytest.mark.parametrize("statistics", ["local", "aggregate"])
def test_fedbn_is_fedavg_but_for_the_norm_layers(statistics):
    everybody = dataclasses.replace(TRAINING, cohort_size=CLIENTS, local_steps=1)
    after = []
    for method in (config.FedAvg(), config.FedBN(statistics=statistics)):
        sim = simulator(method, "cnn_bn", training=everybody)
        after.append(copied(sim.round(sim.init(), 0, sim.prepare(0))[0]))
    fedavg, fedbn = after
    norms = {path for path in fedavg.shared if "/norm_" in path}
    if statistics == "aggregate":
        norms = {path for path in norms if path.startswith("params/")}
    assert set(fedbn.rows) == norms
    assert set(fedbn.shared) == set(fedavg.shared) - norms
    for path, leaf in fedbn.shared.items():
        # the same bits by default, one unit in the last place with the flags of conftest.py
        np.testing.assert_allclose(leaf, fedavg.shared[path], rtol=2e-7, atol=1e-8, err_msg=path)
    p = np.array(TRAIN) / sum(TRAIN)
    for path, rows in fedbn.rows.items():
        np.testing.assert_allclose(np.tensordot(p, rows, 1), fedavg.shared[path], atol=1e-6, err_msg=path)


@pytest.mark.parametrize(("statistics", "where"), [("local", "rows"), ("aggregate", "shared")])
def test_fedbn_statistics_do_not_hang_on_what_else_is_personal(statistics, where):
    state = simulator(config.FedBN(personal=("norm_1/bias",), statistics=statistics), "cnn_bn").initial
    held = state.row if where == "rows" else state.server.shared
    assert {path for path in held if path.startswith("batch_stats/")}
    assert [path for path in state.row if path.startswith("params/")] == ["params/norm_1/bias"]


@pytest.mark.parametrize(("model", "method"), every_day(PAIRS, EVERY_DAY, PAIRS[::4]))
def test_before_the_first_round_every_client_runs_the_variables_that_the_run_is_given(model, method):
    """Whatever their role: of models of a client's own too, and at the hands of any hypernetwork."""
    sim, random = simulator(method, model), np.random.default_rng(5)
    given = {p: random.random(leaf.shape, np.float32) for p, leaf in sim.task.leaf_shapes().items()}
    made = make_method(sim.config.method, sim.task._replace(given=given))
    embeddings = random.random((CLIENTS, 3), np.float32)

    @jax.jit
    def first(ids):
        state = made.init(jax.random.key(0), ids)
        if made.description:  # an embedding is what a client's examples give
            state = state._replace(rows={**state.rows, EMBEDDING: embeddings})
        return made.variables(state)

    shared, rows = first(np.arange(CLIENTS))
    for path, leaf in given.items():
        alike = np.broadcast_to(leaf, (CLIENTS, *leaf.shape)) if path in rows else leaf
        np.testing.assert_allclose({**shared, **rows}[path], alike, rtol=1e-6, err_msg=path)
