"""Matrix products whose gradients are written by hand, in the form that XLA on CPU does best."""

from typing import Any

import jax

CACHED = 2**17  # numbers of an array that stays in a core's cache while it is copied


def turned(x: jax.Array) -> jax.Array:
    """The last two axes of x [..., I, J] exchanged; of a small x, on CPU, a copy.

    A small product that reads its left factor by columns takes XLA on CPU far longer than one by rows, and a
    mere transpose it would fold into the product. Large ones it does well, and copies badly.
    """
    if x.size > CACHED:
        return x.swapaxes(-1, -2)
    return jax.lax.platform_dependent(
        x,
        cpu=lambda x: jax.lax.optimization_barrier(x.swapaxes(-1, -2)),
        default=lambda x: x.swapaxes(-1, -2),
    )


@jax.custom_vjp
def product(rows: jax.Array, kernel: jax.Array) -> jax.Array:
    """rows [R, I] @ kernel [I, O]."""
    return rows @ kernel


def _gradient(kept: tuple[jax.Array, jax.Array], cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    rows, kernel = kept
    return cotangent @ kernel.T, turned(rows) @ cotangent


product.defvjp(lambda rows, kernel: (product(rows, kernel), (rows, kernel)), _gradient)


def dot_general(rows: jax.Array, kernel: jax.Array, dimensions: Any, precision: Any = None) -> jax.Array:
    """`product`, called as a linear layer of Flax calls its product."""
    return product(rows, kernel)
