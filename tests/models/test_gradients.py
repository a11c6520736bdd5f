"""What has a gradient written by hand, beside its plain form that JAX differentiates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedtp_jax.models.attention import attend
from fedtp_jax.models.layers import gelu

LANES, B, S, A, F = 2, 3, 5, 2, 4


def plain_attend(query, key, value, causal, factors):
    scores = jnp.einsum("bsaf,btaf->bast", query, key) / F**0.5
    if causal:
        scores = jnp.where(jnp.tri(S, dtype=bool), scores, -jnp.inf)
    weights = jax.nn.softmax(scores)
    used = weights if factors is None else weights * factors
    return jnp.einsum("bast,btaf->bsaf", used, value).reshape(B, S, A * F), weights


def compare(ours, plain, *lanes):
    """Values, and gradients for some cotangents, of both on lanes [L, ...] and on the first of them alone."""
    for arguments, over in (
        (lanes, jax.vmap),
        (jax.tree.map(lambda x: x[0], lanes), lambda function: function),
    ):
        found = []
        for function in (ours, plain):
            values, back = jax.vjp(over(function), *arguments)
            found.append((values, back(jax.tree.map(lambda y: jnp.cos(7 * y), values))))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6), *found)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dropped", [False, True])
def test_attention(causal, dropped):
    rng = np.random.default_rng(0)
    heads = [rng.normal(size=(LANES, B, S, A, F)).astype(np.float32) for _ in range(3)]
    factors = [rng.choice([0.0, 1.25], (LANES, B, A, S, S)).astype(np.float32)] * dropped

    def ours(query, key, value, factors=None):
        return attend(query, key, value, causal, factors)

    def plain(query, key, value, factors=None):
        return plain_attend(query, key, value, causal, factors)

    compare(ours, plain, *heads, *factors)


def test_attention_of_lower_precision_stays_there():
    x = jnp.ones((B, S, A, F), jnp.bfloat16)
    values, back = jax.vjp(attend, x, x, x)
    assert {leaf.dtype for leaf in jax.tree.leaves((values, back(values)))} == {jnp.dtype(jnp.bfloat16)}


def test_gelu():
    x = np.linspace(-30, 30, 4002, dtype=np.float32).reshape(LANES, -1)
    compare(gelu, lambda x: jax.nn.gelu(x, approximate=False), x)
