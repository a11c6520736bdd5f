"""What the server combines of clients' own rows: for whom, by which weights, side by side."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_cases import CLIENTS, TRAINING, simulator
from scipy.optimize import minimize
from tiny_run import TINY

from fedtp_jax import UserError, config, simulate
from fedtp_jax.core.tree import Leaves
from fedtp_jax.learning.simplex import least_on_simplex, project
from fedtp_jax.methods import Mix, Task, role_method
from fedtp_jax.methods.fedamp import CLOUD
from fedtp_jax.methods.fedpac import TOLD, head_weights

HEAD = ("params/head/kernel", "params/head/bias")


def mean_heads(up=HEAD, down=HEAD, combine=None):
    """FedPer whose cohort's clients all have their plain mean head after a round."""

    def mean(state, rows: Leaves, counts) -> Leaves:
        share = counts.astype(jnp.float32) / counts.astype(jnp.float32).sum()
        return {
            path: jnp.broadcast_to(jnp.tensordot(share, leaf, 1), leaf.shape) for path, leaf in rows.items()
        }

    def make(task: Task):
        method = role_method(task, [("personal", ("head/",)), ("shared", (".",))])
        return method._replace(mix=Mix(combine or mean, up, down))

    return make


def mixing(method, **settings):
    """A simulator of a method of one's own."""
    return simulator(config.Own.part(method), "vit", **settings)


def test_who_returned_has_the_mean_and_who_did_not_its_own():
    losing = dataclasses.replace(
        TRAINING, cohort_size=4, participation=config.Participation(dropout=0.5, over_selection=1.2)
    )
    sim, alone = mixing(mean_heads(), training=losing), simulator("fedper", "vit", training=losing)
    drawn = (sim.participation.participants(round).ids for round in range(20))
    round, back = next((round, ids) for round, ids in enumerate(drawn) if 1 < len(ids) < 4)
    state, result = sim.round(sim.init(), round, sim.prepare(round))
    trained, _ = alone.round(alone.init(), round, alone.prepare(round))
    start = alone.init().rows
    absent = np.setdiff1d(np.arange(CLIENTS), back)
    for path in HEAD:
        mean = trained.rows.take(back)[path].mean(0)
        for row in state.rows.take(back)[path]:
            np.testing.assert_allclose(row, mean, atol=1e-6)
        np.testing.assert_array_equal(state.rows.take(absent)[path], start.take(absent)[path])
    head = sum(leaf.size for path, leaf in sim.task.leaf_shapes().items() if path in HEAD)
    assert sim.traffic == tuple(way + 4 * head for way in alone.traffic)
    assert (result.bytes_down, result.bytes_up) == (5 * sim.traffic[0], len(back) * sim.traffic[1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"up": ("params/haed",)}, "method.mix.up: 'params/haed' begins the path of no row"),
        ({"down": ("personal/",)}, "method.mix.down: 'personal/' begins the path of no row"),
        ({"down": HEAD[:1]}, "method.mix.combine: gives .*bias.*expected .*kernel.*under `down`"),
        ({"combine": lambda state, rows, counts: {p: w[0] for p, w in rows.items()}}, "combine: gives"),
    ],
)
def test_what_a_mix_cannot_do_is_said(given, message):
    with pytest.raises(UserError, match=message):
        mixing(mean_heads(**given))


@pytest.mark.parametrize(("clients", "condition"), [(2, 1.0), (9, 1e2), (30, 1e4)])
def test_least_on_the_simplex_is_what_scipy_finds(clients, condition):
    random = np.random.default_rng(clients)
    turned, _ = np.linalg.qr(random.normal(size=(clients, clients)))
    q = (turned * np.geomspace(1, 1 / condition, clients)) @ turned.T
    allowed = np.arange(clients) != 1 if clients > 2 else np.ones(clients, bool)
    linear = (q @ random.dirichlet(np.ones(clients), clients).T).T  # of which many have their least inside
    linear[::2] = random.normal(size=linear[::2].shape)
    with jax.numpy_dtype_promotion("strict"):
        found = np.asarray(jax.jit(least_on_simplex)(jnp.float32(q), jnp.float32(linear), allowed))
    assert (found >= 0).all() and (found[:, ~allowed] == 0).all()
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    for a, b in zip(found.astype(float), linear, strict=True):

        def value(x, b=b):
            return x @ q @ x / 2 - b @ x

        best = minimize(
            value,
            allowed / allowed.sum(),
            jac=lambda x, b=b: q @ x - b,
            bounds=[(0, float(may)) for may in allowed],
            constraints={"type": "eq", "fun": lambda x: x.sum() - 1, "jac": np.ones_like},
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 1000},
        )
        assert value(a) <= best.fun + 1e-5


def test_the_nearest_of_the_simplex():
    points, allowed = jnp.array([[0.2, 5.0, 0.1], [0.3, 9.0, 0.3]]), jnp.array([True, False, True])
    np.testing.assert_allclose(project(points, allowed), [[0.55, 0, 0.45], [0.5, 0, 0.5]], atol=1e-6)


def test_clients_that_are_alike_share_their_heads_and_others_do_not():
    """Two pairs of clients, each with a class of its own, far from one another."""
    means = np.zeros((4, 2, 3), np.float32)
    means[:2, 0], means[2:, 1] = 10.0, 10.0
    everybody, alike = np.ones(4, bool), np.full((4, 4), 0.5) * np.kron(np.eye(2), np.ones((2, 2)))
    weights = head_weights(jnp.asarray(means), jnp.full(4, 0.1), everybody)
    np.testing.assert_allclose(weights, alike, atol=1e-3)
    # whose variance is large has little to give; who is not there, nothing
    weights = head_weights(jnp.asarray(means), jnp.array([0.1, 0.9, 0.1, 0.1]), everybody)
    np.testing.assert_allclose(weights[0], [0.9, 0.1, 0, 0], atol=1e-3)
    weights = head_weights(jnp.asarray(means), jnp.full(4, 0.1), np.array([True, False, True, True]))
    np.testing.assert_allclose(weights[0], [1, 0, 0, 0], atol=1e-3)


def test_batch_norms_statistics_stay_with_the_client():
    sim = simulator("fedamp", "cnn_bn")
    rows = set(sim.initial.row)
    assert {path for path in rows if path.startswith(f"{CLOUD}batch_stats/")} == set()
    assert {path for path in rows if path.startswith("batch_stats/")}
    shared, run = sim.variables(sim.init()._replace(rows={}), sim.init().rows.take(np.arange(CLIENTS)))
    assert set(run) == set(sim.task.leaf_shapes()) and not shared


def test_nobody_runs_what_is_for_the_server_alone():
    sim = simulator("fedpac", "vit")
    shared, rows = sim.variables(sim.init()._replace(rows={}), sim.init().rows.take(np.arange(CLIENTS)))
    assert set(shared) | set(rows) == set(sim.task.leaf_shapes())
    assert {path for path in sim.initial.row if path.startswith(TOLD)}


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize(
    "method", [config.FedAMP(alpha=0.3), config.FedPAC()], ids=lambda method: type(method).__name__
)
def test_side_by_side_is_what_each_is_alone(method):
    training = dataclasses.replace(TINY.training, rounds=2, local_epochs=2)
    base = dataclasses.replace(TINY, method=method, training=training)
    runs = [
        simulate(dataclasses.replace(base, engine=config.Engine(devices=2, simulations=n)), seeds=[0, 1, 2])
        for n in (1, 3)
    ]
    for alone, beside in zip(*runs, strict=True):
        for path, rows in alone.state.rows.take(np.arange(6)).items():
            other = beside.state.rows.take(np.arange(6))[path]
            np.testing.assert_allclose(rows, other, atol=1e-5, err_msg=path)
