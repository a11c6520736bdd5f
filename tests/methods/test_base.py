"""A hypernetwork that adds to leaves that all clients have in common."""

import dataclasses

import jax
import numpy as np
import pytest
from method_cases import CLIENTS, HYPER, simulator
from tiny_run import TINY

from fedtp_jax import UserError, config, simulate
from fedtp_jax.config.load import from_dict
from fedtp_jax.models.hypernetwork import Hypernetwork, NormalisedDense

UNIFORM = config.Server(weighting="uniform")


def based(kind=config.FedTP, **fields):
    return kind(hypernetwork=dataclasses.replace(HYPER, base=True, **fields))


def after(sim, rounds=2):
    state = sim.init()
    for round in range(rounds):
        state, _ = sim.round(state, round, sim.prepare(round))
    state = sim.fetch(state)
    return state._replace(rows={}), state.rows.take(np.arange(CLIENTS))


@pytest.mark.parametrize("rank", [None, 2])
def test_at_first_everybody_has_the_same_model(rank):
    sim, plain = simulator(based(rank=rank), "vit"), simulator("fedavg", "vit")
    state = sim.method.init(jax.random.key(3), np.arange(3))
    shared, rows = sim.method.send(state)
    model = plain.method.init(jax.random.key(3), np.arange(1)).shared
    generated = [path for path, role in sim.method.roles.items() if role == "generated"]
    assert len(generated) == 3
    for path in generated:
        np.testing.assert_array_equal(rows[path], np.repeat(model[path][None], 3, axis=0))
        np.testing.assert_array_equal(shared[path], model[path])


def test_it_travels_once():
    assert (
        simulator(based(), "vit").traffic
        == simulator("fedtp", "vit").traffic
        == simulator("fedavg", "vit").traffic
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"upload": (config.Clip(norm=1e9),)},
        {"server": dataclasses.replace(UNIFORM, aggregation=config.TrimmedMean(share=0))},
        {"engine": config.Engine(devices=1, lanes=2)},
    ],
    ids=["clip", "apart", "lanes"],
)
def test_whatever_looks_at_changes_sees_it(settings):
    plain = after(simulator(based(), "vit", server=UNIFORM))
    others = after(simulator(based(), "vit", **{"server": UNIFORM, **settings}))
    for one, other in zip(*map(jax.tree.leaves, (plain, others)), strict=True):
        np.testing.assert_allclose(one, other, atol=3e-6)


def test_a_clipped_change_is_of_the_base_as_well():
    clip = 1e-3
    sim = simulator(based(), "vit", server=UNIFORM, upload=(config.Clip(norm=clip),))
    before, (state, _) = sim.fetch(sim.init()).shared, after(sim, 1)
    length = np.sqrt(sum(np.sum((state.shared[path] - before[path]) ** 2) for path in before))
    assert 0 < length <= clip * (1 + 1e-5)


def test_matrices_of_low_rank():
    shapes = {"a/kernel": (4, 6), "b/kernel": (3, 2, 5), "b/bias": (5,), "c/kernel": (2, 9)}
    module = Hypernetwork(shapes, hidden=7, layers=1, rank=2)
    made, _ = module.init_with_output(jax.random.key(0), np.ones((3, 4), np.float32))
    assert {path: leaf.shape[1:] for path, leaf in made.items()} == shapes
    for path, rank in (("a/kernel", 2), ("b/kernel", 2), ("c/kernel", 2)):
        assert (np.linalg.matrix_rank(made[path].reshape(3, -1, shapes[path][-1]), tol=1e-4) == rank).all()


def test_a_run_goes_on_and_begins_from_variables(tmp_path):
    given = {
        "partition": {"name": "iid", "clients": 6},
        "model": {
            "name": "vit",
            "patch_size": 4,
            "dim": 8,
            "depth": 1,
            "heads": 2,
            "dim_head": 4,
            "mlp_dim": 8,
        },
        "method": {
            "name": "fedtp_per",
            "hypernetwork": {"embedding": 3, "hidden": 4, "layers": 1, "base": True},
        },
        "training": {"rounds": 4, "cohort_size": 3, "learning_rate": 0.1},
        "evaluation": {"every": 2},
        "checkpoint": {"every": 1},
        "engine": {"devices": 1},
    }

    class Stopped(Exception):
        pass

    def stop(progress):
        if progress.round == 3:
            raise Stopped

    whole = simulate(**given)
    with pytest.raises(Stopped):
        simulate(**given, out=tmp_path / "run", on_round=stop)
    again = simulate(**given, out=tmp_path / "run", resume=True)
    assert again.history.equals(whole.history)
    variables = whole.variables(2)
    begun = simulate(
        **{**given, "training": {**given["training"], "rounds": 1, "learning_rate": 1e-12}}, init=variables
    )
    for path, leaf in jax.tree_util.tree_leaves_with_path(begun.variables(4)):
        there = variables
        for key in path:
            there = there[key.key]
        np.testing.assert_allclose(leaf, there, atol=1e-5)


def test_a_rank_takes_a_base():
    with pytest.raises(UserError, match=r"method.hypernetwork.rank: 4, but matrices of low rank alone"):
        from_dict({"method": {"name": "fedtp", "hypernetwork": {"rank": 4}}})


def test_layers_divided_by_their_largest_singular_value():
    shapes = {"a/kernel": (4, 3)}
    module = Hypernetwork(shapes, hidden=5, layers=1, spectral_norm=True)
    z = np.linspace(-1, 1, 2 * 3, dtype=np.float32).reshape(2, 3)
    phi = module.init(jax.random.key(0), z)
    x, leaves = z, jax.tree.map(np.asarray, phi["params"])
    for name in ("trunk_0", "trunk_1", "head:a.kernel"):
        kernel = leaves[name]["kernel"]
        x = (x if name == "trunk_0" else np.maximum(x, 0) if name == "trunk_1" else x) @ (
            kernel / np.linalg.svd(kernel)[1][0]
        ) + leaves[name]["bias"]
    np.testing.assert_allclose(module.apply(phi, z)["a/kernel"], x.reshape(2, 4, 3), rtol=1e-5, atol=1e-6)
    # the normalised kernel's gradient: Miyato et al., equation 12
    kernel = leaves["trunk_0"]["kernel"]
    left, sizes, right = np.linalg.svd(kernel)
    cotangent = np.linspace(-2, 1, kernel.size, dtype=np.float32).reshape(kernel.shape)

    def normalised(kernel):
        return NormalisedDense(kernel.shape[1]).apply(
            {"params": {"kernel": kernel, "bias": np.zeros(kernel.shape[1])}}, np.eye(kernel.shape[0])
        )

    (found,) = jax.vjp(normalised, kernel)[1](cotangent)
    along = (cotangent * kernel / sizes[0]).sum()
    expected = (cotangent - along * np.outer(left[:, 0], right[0])) / sizes[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_spectral_norm_bars_a_base_and_given_variables():
    hyper = {"spectral_norm": True}
    with pytest.raises(UserError, match=r"spectral_norm: true, but beside a base"):
        from_dict({"method": {"name": "fedtp", "hypernetwork": {**hyper, "base": True}}})
    plain = simulate(TINY, method="fedavg", training={"rounds": 1})
    with pytest.raises(UserError, match=r"init: given, but with method.hypernetwork.spectral_norm"):
        simulate(TINY, method={"name": "fedtp", "hypernetwork": hyper}, training={"rounds": 1}, init=plain)
