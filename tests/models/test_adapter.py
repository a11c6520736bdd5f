"""The adapter beside attention: what it adds, where, and that without one nothing is added."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_run import TINY

from fedtp_jax import config, simulate
from fedtp_jax.core import tree
from fedtp_jax.models import make_model, text, vit
from fedtp_jax.models.adapter import AdapterSize
from fedtp_jax.models.inputs import Inputs

SMALL = {"dim": 6, "depth": 1, "heads": 2, "dim_head": 4, "mlp_dim": 5, "dropout": 0.0}
MODELS = {
    "vit": (config.Vit(patch_size=4, **SMALL), (8, 8, 1), np.float32),
    "transformer": (config.Transformer(**SMALL), (5,), np.int32),
}
B, S, M, A, F, D, SCALE = 2, 5, 6, 2, 4, 3, 1.5


def softmax(scores):
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("module", [vit, text])
def test_keys_and_values_get_what_it_gives_of_the_same_inputs(module):
    rng, causal = np.random.default_rng(0), [False] * (module is text)
    attention = module.Attention(S, A, F, 0.0, *causal, False, AdapterSize(D, SCALE))
    x = rng.normal(size=(B * S, M)).astype(np.float32)
    shapes = tree.flatten(jax.eval_shape(lambda: attention.init(jax.random.key(0), x, False))["params"])
    w = {path: rng.normal(size=leaf.shape).astype(np.float32) for path, leaf in shapes.items()}
    found = attention.apply({"params": tree.unflatten(w)}, x, False)

    hidden = np.tanh(x @ w["adapter/down/kernel"] + w["adapter/down/bias"])
    up = SCALE * (hidden @ w["adapter/up/kernel"] + w["adapter/up/bias"])
    key, value = x @ w["key/kernel"] + up[:, : A * F], x @ w["value/kernel"] + up[:, A * F :]
    query, key, value = (
        heads.reshape(B, S, A, F).swapaxes(1, 2) for heads in (x @ w["query/kernel"], key, value)
    )
    mixed = softmax(query @ key.swapaxes(2, 3) / F**0.5) @ value
    out = mixed.swapaxes(1, 2).reshape(B * S, A * F) @ w["out/kernel"] + w.get("out/bias", 0.0)
    np.testing.assert_allclose(found, out, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_it_is_beside_all_else(name):
    settings, shape, dtype = MODELS[name]
    x = np.ones((1, *shape), dtype)

    def leaves(size):
        adapter = {} if size is None else {"adapter": config.Adapter(size)}
        inputs = Inputs("text", shape, 3) if name == "transformer" else Inputs("image", shape)
        model = make_model(dataclasses.replace(settings, **adapter), inputs, 3)
        return tree.flatten(jax.jit(model.init)(jax.random.key(0), x))

    without, beside = leaves(None), leaves(D)
    for path, leaf in without.items():
        np.testing.assert_array_equal(leaf, beside[path])
    own = {path: leaf.shape for path, leaf in beside.items() if path not in without}
    each = {"down/kernel": (M, D), "down/bias": (D,), "up/kernel": (D, 2 * A * F), "up/bias": (2 * A * F,)}
    assert own == {f"params/block_0/attention/adapter/{path}": size for path, size in each.items()}


@pytest.mark.slow
def test_a_hypernetwork_may_generate_it_and_attention_is_looked_at_as_ever():
    model = dataclasses.replace(TINY.model, adapter=config.Adapter(D))
    method = dataclasses.replace(TINY.method, generated=config.ADAPTER)
    result = simulate(TINY, model=model, method=method, training=config.Training(rounds=1, cohort_size=3))
    variables = result.variables(0)["params"]["block_0"]["attention"]
    assert variables["adapter"]["up"]["kernel"].shape == (D, 2 * 2 * 4)
    generated = {path for path, role in result._built[1].roles.items() if role == "generated"}
    assert generated == {path for path in tree.flatten(result.variables(0)) if "/adapter/" in path}
    x = np.zeros((2, 8, 8, 1), np.uint8)
    (weights,) = result.intermediates(0, x)["block_0"]["attention"]["attention"]
    np.testing.assert_allclose(weights.sum(-1), 1.0, rtol=1e-5)
