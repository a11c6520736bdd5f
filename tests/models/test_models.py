"""The models: batch norm over padded batches, causality, lanes, shapes, leaf names, initial values."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedtp_jax import config
from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.dataset import kind_of
from fedtp_jax.models import make_model
from fedtp_jax.models.cnn import Cnn
from fedtp_jax.models.inputs import Inputs
from fedtp_jax.models.layers import BatchNorm, max_pool
from fedtp_jax.models.lstm import Lstm
from fedtp_jax.models.text import Transformer
from fedtp_jax.models.vit import Vit

TEXT, LARGE = Inputs("text", (6,), 20), Inputs("text", (6,), 100)
MODELS = {
    "vit": Vit(10, 8, dim=8, depth=1, heads=2, dim_head=4, mlp_dim=8),
    "cnn": Cnn(10, 2),
    "cnn_bn": Cnn(10, 2, batch_norm=True),
    "transformer": Transformer(20, TEXT, dim=8, depth=1, heads=2, dim_head=4, mlp_dim=8),
    "lstm": Lstm(20, TEXT, embedding=4, hidden=8),
}


def example(name, batch=4):
    rng = np.random.default_rng(0)
    if name in ("transformer", "lstm"):
        return jnp.asarray(rng.integers(0, 20, (batch, 6)), jnp.int32)
    return jnp.asarray(rng.normal(size=(batch, 16, 16, 3)), jnp.float32)


def some_variables(model, x, lead=()):
    """Small random values, positive ones for variances, without compiling any initialiser."""
    rng = np.random.default_rng(0)
    leaves = tree.flatten(jax.eval_shape(model.init, jax.random.key(0), x))
    values = {path: rng.normal(0, 0.3, (*lead, *leaf.shape)) for path, leaf in leaves.items()}
    values = {path: np.abs(value) if path.endswith("var") else value for path, value in values.items()}
    return tree.unflatten({path: jnp.asarray(value, jnp.float32) for path, value in values.items()})


@pytest.mark.parametrize("name", MODELS)
def test_two_lanes_equal_each_alone(name):
    model, x = MODELS[name], example(name)
    mask = jnp.asarray([1.0, 1.0, 1.0, 0.0])

    def train(variables, x, key):
        rngs, mutable = {"dropout": key}, ["batch_stats"]
        return model.apply(variables, x, train=True, mask=mask, rngs=rngs, mutable=mutable)

    keys = jax.random.split(jax.random.key(1), 2)
    inputs = (some_variables(model, x, (2,)), jnp.stack([x, x[::-1]]), keys)
    lanes = jax.jit(jax.vmap(train))(*inputs)
    for lane in range(2):
        own, expected = jax.tree.map(lambda leaf, lane=lane: leaf[lane], (inputs, lanes))
        alone = jax.jit(train)(*own)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=0), alone, expected)


@pytest.mark.parametrize("shape", [(5,), (3, 2, 5)])
def test_batch_norm_ignores_padding(shape):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(2, 3, (6, *shape)), jnp.float32)
    mask = jnp.asarray([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    real = np.flatnonzero(mask)
    norm = BatchNorm()
    variables = norm.init(jax.random.key(0), x, False)
    padded, padded_stats = norm.apply(variables, x, True, mask, mutable=["batch_stats"])
    exact, exact_stats = norm.apply(variables, x[real], True, mutable=["batch_stats"])
    np.testing.assert_allclose(padded[real], exact, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), padded_stats, exact_stats)
    np.testing.assert_array_equal(norm.apply(variables, x, True, mask), padded)  # without updating


@pytest.mark.parametrize("real", [0, 1])
def test_batch_norm_of_hardly_any_example_is_finite(real):
    norm = BatchNorm()
    x = jnp.asarray([[3.0, -2.0], [1.0, 5.0]])
    mask = jnp.asarray([float(real), 0.0])
    variables = norm.init(jax.random.key(0), x, False)

    def loss(params):
        y, updated = norm.apply({**variables, "params": params}, x, True, mask, mutable=["batch_stats"])
        return jnp.sum(y**2), updated["batch_stats"]

    (value, stats), gradient = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    assert tree.all_finite((value, gradient))
    np.testing.assert_array_equal(stats["var"], 1.0)
    np.testing.assert_allclose(stats["mean"], 0.1 * real * x[0], rtol=1e-6)


@pytest.mark.parametrize("causal", [True, False])
def test_causal_transformer_sees_no_later_input(causal):
    settings = config.Transformer(dim=8, heads=2, dim_head=4, mlp_dim=8)
    model = make_model(settings, Inputs("text", (6,), 20), 20, causal)
    x = example("transformer", batch=1)
    variables = some_variables(model, x)
    changed = x.at[0, 4].set((x[0, 4] + 1) % 20)
    before, after = model.apply(variables, x), model.apply(variables, changed)
    same = np.all(np.asarray(before == after), axis=(0, 2))
    np.testing.assert_array_equal(same, [causal] * 4 + [False] * 2)


@pytest.mark.parametrize("shape", [(8, 12, 1), (12, 8, 5)])
def test_vit_takes_images_of_any_shape(shape):
    model = make_model(config.Vit(dim=8, depth=1, heads=2, dim_head=4, mlp_dim=8), Inputs("image", shape), 7)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, *shape)), jnp.float32)
    variables = some_variables(model, x)
    assert variables["params"]["position_embedding"].shape == (1, 7, 8)
    assert jax.eval_shape(model.apply, variables, x).shape == (2, 7)
    rows, columns = shape[0] // 4, shape[1] // 4
    corners = [(4 * row, 4 * column) for row in range(rows) for column in range(columns)]
    patches = np.stack([x[:, r : r + 4, c : c + 4].reshape(2, -1) for r, c in corners], axis=1)
    np.testing.assert_array_equal(model.patches(x), patches)


def test_cnn_takes_images_of_any_shape():
    model = make_model(config.CnnBn(kernels=2), Inputs("image", (17, 30, 1)), 7)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 17, 30, 1)))
    assert variables["params"]["dense_1"]["kernel"].shape == (1 * 4 * 4, 120)


def test_max_pool_is_the_largest_and_of_equal_ones_the_first():
    x = jnp.asarray(np.random.default_rng(0).integers(0, 3, (2, 5, 6, 3)), jnp.float32)
    expected = np.asarray(x)[:, :4].reshape(2, 2, 2, 3, 2, 3).max((2, 4))
    np.testing.assert_array_equal(max_pool(x), expected)
    gradient = jax.grad(lambda x: max_pool(x).sum())(jnp.ones((1, 2, 2, 1)))
    np.testing.assert_array_equal(gradient.ravel(), [1, 0, 0, 0])


@pytest.mark.parametrize("name", MODELS)
def test_roles_find_their_leaves(name):
    paths = list(tree.flatten(jax.eval_shape(MODELS[name].init, jax.random.key(0), example(name))))

    def found(*patterns):
        return [path for path in paths if any(re.search(pattern, path) for pattern in patterns)]

    assert set(found(*config.HEAD)) <= {"params/head/kernel", "params/head/bias"}
    assert found(*config.HEAD)
    attention = name in ("vit", "transformer")
    assert len(found(*config.QKV)) == (3 if attention else 0)
    norms = {"vit": 6, "transformer": 6, "cnn_bn": 16}
    assert len(found(r"norm[^/]*/")) == norms.get(name, 0)


def test_initial_values_are_those_of_pytorch():
    def init(model, x):
        return tree.flatten(jax.jit(model.init)(jax.random.key(0), x))

    tokens = jnp.zeros((1, 6), jnp.int32)
    text, lstm = init(Transformer(100, LARGE, depth=1), tokens), init(Lstm(100, LARGE), tokens)
    cnn = init(Cnn(10), jnp.zeros((1, 32, 32, 3)))
    bounds = [
        (text["params/embedding"], (6 / 228) ** 0.5),
        (text["params/head/kernel"], (6 / 228) ** 0.5),
        (text["params/block_0/attention/query/kernel"], (6 / 640) ** 0.5),
        (text["params/block_0/attention/out/kernel"], (6 / 640) ** 0.5),
        (text["params/block_0/mlp/up/kernel"], (6 / 384) ** 0.5),
        (text["params/block_0/mlp/up/bias"], 128**-0.5),
        (text["params/block_0/mlp/down/bias"], 256**-0.5),
        *((leaf, 1 / 16) for path, leaf in lstm.items() if "layer" in path or "head" in path),
        (cnn["params/conv_1/kernel"], 75**-0.5),
        (cnn["params/conv_2/kernel"], 400**-0.5),
        (cnn["params/dense_1/bias"], 800**-0.5),
    ]
    for leaf, bound in bounds:
        assert 0.9 * bound < np.max(np.abs(leaf)) <= bound
        assert abs(np.mean(leaf)) < 0.2 * bound
    np.testing.assert_allclose(lstm["params/embedding"].std(), 1.0, atol=0.1)


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        (
            config.Transformer(),
            (8, 8, 1),
            r"model.name: transformer takes windows of a text \[length\] or .*, .* gives images of shape "
            r"\[8, 8, 1\]; choose vit, cnn, cnn_bn, mlp, or other data",
        ),
        (config.Lstm(), (80,), r"model.name: lstm .* features of shape \[80\]; choose mlp, transformer, or"),
        (config.Vit(), (8, 8), r"model.name: vit takes images .*; choose cnn1d, mlp, transformer, lstm, or"),
        (config.Mlp(), (2, 28, 28, 1), r"model.name: mlp .* examples of shape .*; give a model of your own"),
        (config.Cnn1d(), (13, 3), r"model.name: cnn1d takes series of at least 14 steps, .* have 13; choose"),
        (config.Transformer(pool="last"), (5,), r"model.pool: 'last', .*features.*; use mean"),
        (config.CnnBn(), (16, 15, 3), r"model.name: cnn_bn .* at least 16 pixels, .* 16x15; choose vit or"),
    ],
)
def test_models_refuse_data_of_another_kind(settings, shape, message):
    with pytest.raises(UserError, match=message):
        make_model(settings, Inputs(kind_of(shape), shape), 10)
