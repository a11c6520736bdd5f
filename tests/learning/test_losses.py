"""The cross-entropy that everything is trained and measured by."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fedtp_jax.learning.targets import cross_entropies


@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_values_and_gradients_are_those_of_optax_to_the_bit(shape):
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(scale=20, size=(*shape, 5)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 5, shape), jnp.int32)
    # a class that the client does not have, and a label that is such a class
    logits = logits.at[..., 2].set(-jnp.inf)
    labels = labels.at[..., 0].set(2).at[..., 1].set(4)
    found = []
    for function in (cross_entropies, optax.softmax_cross_entropy_with_integer_labels):
        losses, back = jax.vjp(lambda logits, f=function: f(logits, labels), logits)
        found.append((losses, *back(jnp.where(jnp.isinf(losses), 0.0, jnp.cos(losses)))))
    jax.tree.map(np.testing.assert_array_equal, *found)
    assert np.isinf(found[0][0]).any() and np.isfinite(found[0][0]).any()


def test_its_gradient_has_no_scatter():
    def total(function, logits):
        return function(logits, jnp.arange(3)).sum()

    def gradient(function):
        return str(jax.make_jaxpr(jax.grad(lambda logits: total(function, logits)))(jnp.ones((3, 4))))

    assert "scatter" in gradient(optax.softmax_cross_entropy_with_integer_labels)
    assert "scatter" not in gradient(cross_entropies)
