"""Attention as one kernel of cuDNN: scores and weights stay out of a GPU's memory, in the gradient too."""

from typing import Literal

import jax
import jax.numpy as jnp

MULTIPLE, MOST = 8, 128  # of a head's width: what cuDNN takes on every GPU that has the kernel


def even(length: int) -> int:
    """The next even number: JAX hands no others to cuDNN where there is a gradient.

    Not 64 more than a multiple of 128: of those cuDNN's notes report gradients that are NaN on an H100.
    """
    length += length % 2
    return length + 2 if length % 128 == 64 else length


def with_length(rows: jax.Array, before: int, after: int) -> jax.Array:
    """[B * before, M] -> [B * after, M]: of each example its first rows, and zeros if there are more."""
    if before == after:
        return rows
    rows = rows.reshape(-1, before, rows.shape[-1])
    room = ((0, 0, 0), (0, after - before, 0), (0, 0, 0))
    return jax.lax.pad(rows, jnp.zeros((), rows.dtype), room).reshape(-1, rows.shape[-1])


def fused_attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    length: int,
    causal: bool = False,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> jax.Array:
    """softmax(q k^T / sqrt(F)) v of [B, S, A, F] queries, keys and values, of which `length` are seen.

    By "cudnn" S is even, F a multiple of 8 and at most 128, they are bfloat16 or float16, and the program is
    for an NVIDIA GPU; "xla" is the same by operations that any device has.
    """
    # JAX's rule for many lanes takes no lengths that they share: these are made of a lane's own queries
    none = 0 * query[:, 0, 0, 0].astype(jnp.int32)
    return jax.nn.dot_product_attention(
        query,
        key,
        value,
        is_causal=causal,
        query_seq_lengths=none + query.shape[1],  # a query that sees nothing would have no softmax
        key_value_seq_lengths=none + length,
        implementation=implementation,
    )
