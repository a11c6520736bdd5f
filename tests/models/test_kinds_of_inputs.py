"""Models on series, features and token ids, beside plain NumPy; and a run of each on all that it takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from marks import every_day
from method_cases import HYPER
from test_models import some_variables

from fedtp_jax import config, from_arrays, simulate
from fedtp_jax.models import TAKES, make_model
from fedtp_jax.models.attention import attend
from fedtp_jax.models.inputs import Inputs, pooled
from fedtp_jax.models.text import position_table

RNG = np.random.default_rng(1)
SMALL = {
    "vit": config.Vit(patch_size=8, dim=6, depth=1, heads=2, dim_head=3, mlp_dim=4),
    "cnn": config.Cnn(kernels=1),
    "cnn_bn": config.CnnBn(kernels=1),
    "cnn1d": config.Cnn1d(kernels=2, hidden=3),
    "mlp": config.Mlp(hidden=4),
    "transformer": config.Transformer(dim=6, depth=1, heads=2, dim_head=3, mlp_dim=4),
    "lstm": config.Lstm(embedding=2, hidden=3, layers=1),
}
Y = np.arange(48) % 3
DATA = {
    "image": from_arrays(RNG.integers(0, 256, (48, 16, 24, 1), np.uint8), Y),
    "series": from_arrays(RNG.normal(size=(48, 16, 2)).astype(np.float32), Y, kind="series"),
    "features": from_arrays(RNG.normal(size=(48, 5)).astype(np.float32), Y),
    "tokens": from_arrays(RNG.integers(0, 7, (48, 6)), Y, kind="tokens"),
    "text": from_arrays(RNG.integers(0, 7, (48, 6)), kind="tokens"),
}
PAIRS = [(name, kind) for name, settings in SMALL.items() for kind in TAKES[type(settings)]]


@pytest.mark.parametrize(
    ("name", "kind"),
    every_day(PAIRS, [("transformer", "features"), ("mlp", "features"), ("cnn1d", "series")]),
)
def test_every_model_learns_on_all_kinds_that_it_takes(name, kind):
    result = simulate(
        data=DATA[kind],
        partition=config.Iid(clients=3),
        model=SMALL[name],
        method="fedavg",
        training={"rounds": 2, "cohort_size": 3, "batch_size": 8},
        evaluation={"every": 2},
    )
    assert np.isfinite(result.history["train_loss"]).all()
    assert 0 <= result.history["test_accuracy"].iloc[-1] <= 1
    x = DATA[kind].test
    inputs = x.text[x.start[:2, None] + np.arange(x.length)] if kind == "text" else x.x[:2]
    classes = (5, 7) if kind == "text" else (3,)
    assert result.predict(0, inputs).shape == (2, *classes)


def test_fedtp_generates_attention_on_features():
    result = simulate(
        data=DATA["features"],
        partition=config.Iid(clients=3),
        model=SMALL["transformer"],
        method=config.FedTP(hypernetwork=HYPER),
        training={"rounds": 2, "cohort_size": 3, "batch_size": 8},
        evaluation={"every": 2},
    )
    queries = [result.variables(k)["params"]["block_0"]["attention"]["query"]["kernel"] for k in (0, 1)]
    assert not np.array_equal(*queries)


def run(settings, inputs, x, classes=3):
    model = make_model(settings, inputs, classes)
    variables = some_variables(model, jnp.asarray(x))
    return model.apply(variables, jnp.asarray(x)), variables["params"], model


@pytest.mark.parametrize("layers", [0, 2])
def test_mlp_is_its_equation(layers):
    x = RNG.normal(size=(4, 2, 3)).astype(np.float32)
    found, params, _ = run(config.Mlp(hidden=5, layers=layers), Inputs("series", (2, 3)), x)
    hidden = x.reshape(4, 6)
    for layer in range(1, layers + 1):
        weights = params[f"dense_{layer}"]
        hidden = np.maximum(hidden @ weights["kernel"] + weights["bias"], 0)
    np.testing.assert_allclose(found, hidden @ params["head"]["kernel"] + params["head"]["bias"], rtol=1e-5)


@pytest.mark.parametrize("train", [False, True])
def test_cnn1d_is_its_equation(train):
    x = RNG.normal(size=(3, 17, 2)).astype(np.float32)
    model = make_model(config.Cnn1d(kernels=2, hidden=3), Inputs("series", (17, 2)), 4)
    variables = some_variables(model, jnp.asarray(x))
    params = variables["params"]

    def convolved(x, name):
        kernel, bias = np.asarray(params[name]["kernel"])[:, 0], params[name]["bias"]
        steps = [np.einsum("btc,tcf->bf", x[:, t : t + 5], kernel) for t in range(x.shape[1] - 4)]
        return np.maximum(np.stack(steps, 1) + bias, 0)

    first = convolved(x, "conv_1")
    halved = np.stack([first[:, t : t + 2].max(1) for t in range(0, first.shape[1] - 1, 2)], 1)
    mean = convolved(halved, "conv_2").mean(1)
    hidden = np.maximum(mean @ params["dense_1"]["kernel"] + params["dense_1"]["bias"], 0)
    expected = hidden @ params["head"]["kernel"] + params["head"]["bias"]
    np.testing.assert_allclose(model.apply(variables, jnp.asarray(x), train), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["transformer", "lstm"])
@pytest.mark.parametrize("pool", ["mean", "last"])
def test_padding_is_neither_seen_nor_pooled(name, pool):
    settings = {
        "transformer": config.Transformer(dim=6, depth=2, heads=2, dim_head=3, mlp_dim=4, pool=pool),
        "lstm": config.Lstm(embedding=2, hidden=3, pool=pool),
    }[name]
    x = RNG.integers(1, 7, (3, 6)).astype(np.int32)
    x[0, 4:], x[1, 1:] = 0, 0
    padded, params, _ = run(settings, Inputs("tokens", (6,), 7, 0), x)
    for row, length in enumerate((4, 1, 6)):
        model = make_model(settings, Inputs("tokens", (length,), 7), 3)
        alone = model.apply({"params": params}, x[row : row + 1, :length])
        np.testing.assert_allclose(padded[row], alone[0], rtol=2e-5, atol=1e-6)


def test_attention_past_the_end_has_no_gradient():
    q, k, v = (jnp.asarray(RNG.normal(size=(2, 4, 1, 3)), jnp.float32) for _ in range(3))
    seen = jnp.asarray([[1, 1, 0, 0], [1, 1, 1, 1]], bool)

    def plain(q, k, v):
        scores = jnp.einsum("bsaf,btaf->bast", q, k) / 3**0.5
        weights = jax.nn.softmax(jnp.where(seen[:, None, None], scores, -jnp.inf))
        return jnp.einsum("bast,btaf->bsaf", weights, v).reshape(2, 4, 3)

    def loss(attention):
        return lambda *qkv: jnp.sum(jnp.cos(attention(*qkv)))

    found = jax.grad(loss(lambda *qkv: attend(*qkv, seen=seen)[0]), (0, 1, 2))(q, k, v)
    expected = jax.grad(loss(plain), (0, 1, 2))(q, k, v)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, expected)
    assert not found[1][0, 2:].any() and not found[2][0, 2:].any()


@pytest.mark.parametrize("kind", ["features", "series"])
def test_features_are_embedded_one_by_one_and_steps_by_their_channels(kind):
    shape = (3,) if kind == "features" else (3, 2)
    x = RNG.normal(size=(2, *shape)).astype(np.float32)
    model = make_model(config.Transformer(dim=4, depth=1, heads=1, dim_head=4), Inputs(kind, shape), 2)
    variables = some_variables(model, jnp.asarray(x))
    params = variables["params"]
    _, seen = model.apply(
        variables, jnp.asarray(x), capture_intermediates=lambda module, _: module.name == "embedding_norm"
    )
    if kind == "features":
        expected = x[:, :, None] * params["embedding_kernel"] + params["embedding_bias"]
    else:
        expected = x @ params["embedding"]["kernel"] + params["embedding"]["bias"] + position_table(3, 4)
    expected = np.asarray(expected).reshape(-1, 4)
    expected = (expected - expected.mean(-1, keepdims=True)) / expected.std(-1, keepdims=True)
    expected = expected * params["embedding_norm"]["scale"] + params["embedding_norm"]["bias"]
    found = seen["intermediates"]["embedding_norm"]["__call__"][0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_pooled_without_padding():
    x = jnp.asarray(RNG.normal(size=(2, 4, 3)), jnp.float32)
    np.testing.assert_allclose(pooled(x, None, "mean"), np.asarray(x).mean(1), rtol=1e-6)
    np.testing.assert_array_equal(pooled(x, None, "last"), x[:, -1])
