"""engine.precision=bfloat16: what the model computes is coarser, what is kept and summed stays float32."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from marks import every_day
from test_models import MODELS, example, some_variables

from fedtp_jax import config, from_nnx, simulate
from fedtp_jax.core import tree
from fedtp_jax.engine.lanes import Batch, Facts, Row
from fedtp_jax.learning.local_training import local_training
from fedtp_jax.learning.task import Task
from fedtp_jax.models.inputs import Inputs
from fedtp_jax.models.precision import layers_at


def one_step(name, precision):
    """(leaves after a step of Adam, optimizer's state, loss, output of the step) of a model."""
    x = example(name, batch=16)
    y = x if x.ndim == 2 else jnp.arange(len(x)) % 10
    task = Task(
        MODELS[name].clone(**({"dropout": 0.0} if hasattr(MODELS[name], "dropout") else {})),
        Inputs("text", x.shape[1:], 20) if x.ndim == 2 else Inputs("image", x.shape[1:]),
        20 if x.ndim == 2 else 10,
        1,
        config.Training(learning_rate=0.01, optimizer=config.Optimizer("adam")),
        precision=jnp.dtype(precision),
    )
    leaves = tree.flatten(some_variables(task.model, x))
    steps = local_training(task, dict.fromkeys(leaves, "shared"))
    row = Row({}, Facts(*(jnp.ones(()) for _ in Facts._fields)))
    batch = Batch(x, y, jnp.ones(len(x)).at[-1].set(0.0), jnp.zeros((), jnp.int32), jnp.arange(len(x)))
    carry, output = jax.jit(steps.step)(leaves, row, steps.start(leaves, row, None), batch, jax.random.key(0))
    return carry.leaves, carry.opt, carry.loss, output


def near(a, b):
    """Whether two trees differ by less than a tenth: batch norm of few examples enlarges what is rounded."""
    a, b = (np.concatenate([np.zeros(1), *map(np.ravel, jax.tree.leaves(each))]) for each in (a, b))
    return np.linalg.norm(a - b) <= 0.1 * np.linalg.norm(a)


@pytest.mark.parametrize("name", every_day(MODELS, ["vit"]))
def test_a_step_is_near_that_of_float32_and_all_that_is_kept_is_float32(name):
    exact, coarse = one_step(name, "float32"), one_step(name, "bfloat16")
    for a, b in zip(jax.tree.leaves(exact), jax.tree.leaves(coarse), strict=True):
        assert a.dtype == b.dtype
        assert a.dtype in (jnp.float32, jnp.int32)
    assert tree.all_finite(coarse)
    assert not np.array_equal(exact[3].logits, coarse[3].logits)
    assert near(exact[3].logits[:-1], coarse[3].logits[:-1])  # of real examples
    assert near(exact[2], coarse[2])
    assert near(exact[3].statistics, coarse[3].statistics)
    assert near(exact[1], coarse[1])  # Adam's moments: the gradients


@pytest.mark.slow
def test_digits_are_learned_as_well():
    """Four clients of all classes: the accuracies differ by less than three points."""
    settings = config.SimulationConfig(
        partition=config.Iid(clients=4),
        model=config.Vit(patch_size=2, dim=16, depth=1, heads=2, dim_head=8, mlp_dim=16, dropout=0.0),
        method=config.FedAvg(),
        training=config.Training(
            rounds=8,
            cohort_size=4,
            local_epochs=4,
            batch_size=32,
            learning_rate=0.005,
            optimizer=config.Optimizer("adam"),
        ),
    )
    accuracies = {}
    for precision in ("float32", "bfloat16"):
        result = simulate(dataclasses.replace(settings, engine=config.Engine(precision=precision)))
        accuracies[precision] = result.accuracy["last"]
        leaves = jax.tree.leaves((result.state._replace(rows={}), result.state.rows.take(np.array([0]))))
        assert {str(leaf.dtype) for leaf in leaves} == {"float32"}
    assert accuracies["float32"] > 0.8
    assert abs(accuracies["float32"] - accuracies["bfloat16"]) < 0.03, accuracies


class Seen(nn.Module):
    """Gives its inputs back, and has layers."""

    @nn.compact
    def __call__(self, x, train=False):
        hidden = nn.Dense(4, name="layer")(x)
        self.sow("intermediates", "features", hidden)
        self.sow("intermediates", "dtype_bits", jnp.finfo(hidden.dtype).bits)
        return x


class SeenNnx(nnx.Module):
    def __init__(self, rngs):
        self.layer = nnx.Linear(5, 5, rngs=rngs)

    def __call__(self, x):
        return x + 0 * self.layer(x).sum()


@pytest.mark.parametrize("model", [Seen(), from_nnx(SeenNnx)], ids=["linen", "nnx"])
def test_inputs_reach_the_model_as_they_are(model):
    ids = jnp.array([[0.0, 257, 1001, 3999, 16_777_215]])
    task = Task(
        model,
        Inputs("features", ids.shape[1:]),
        5,
        1,
        config.Training(),
        precision=jnp.dtype("bfloat16"),
    )
    leaves = tree.flatten(model.init(jax.random.key(0), ids))
    np.testing.assert_array_equal(task.forward(leaves, ids).logits, ids)


def test_layers_compute_at_the_precision():
    x = jnp.ones((1, 3))
    for precision, bits in (("float32", 32), ("bfloat16", 16)):
        leaves = tree.unflatten(tree.flatten(Seen().init(jax.random.key(0), x)))
        lower = jax.tree.map(lambda leaf, to=precision: leaf.astype(to), leaves)
        with jax.numpy_dtype_promotion("standard"), layers_at(jnp.dtype(precision)):
            _, sown = Seen().apply(lower, x, mutable=["intermediates"])
        assert sown["intermediates"]["dtype_bits"][0] == bits
