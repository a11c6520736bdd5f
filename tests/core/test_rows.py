"""Rows written into trees of rows."""

import jax
import jax.numpy as jnp
import numpy as np

from fedtp_jax.core import tree


def test_rows_are_put_where_they_belong_and_beyond_the_end_nowhere():
    rows = {"a": jnp.arange(8.0).reshape(4, 2), "b": jnp.zeros(4, jnp.int32)}
    new = {"a": -jnp.ones((5, 2)), "b": jnp.arange(1, 6)}
    put = jax.jit(tree.put_rows)(rows, jnp.array([2, 4, 0, 4, 9]), new)
    np.testing.assert_array_equal(put["a"], [[-1, -1], [2, 3], [-1, -1], [6, 7]])
    np.testing.assert_array_equal(put["b"], [3, 0, 1, 0])


def test_no_two_rows_go_to_one_place():
    """So that no compiler has to put them into an order."""
    ids = jnp.full(3, 4)
    traced = jax.make_jaxpr(tree.put_rows)(jnp.zeros((4, 2)), ids, jnp.ones((3, 2)))
    (scatter,) = (step for step in traced.eqns if step.primitive.name.startswith("scatter"))
    assert scatter.params["unique_indices"]
