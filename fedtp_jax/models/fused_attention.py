"""Attention as one kernel of cuDNN: scores and weights stay out of a GPU's memory, in the gradient too."""

from typing import Literal

import jax
import jax.numpy as jnp

MULTIPLE, MOST = 8, 128  # of a head's width: what cuDNN takes on every GPU that has the kernel


def fused_attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    causal: bool = False,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> jax.Array:
    """softmax(q k^T / sqrt(F)) v of [B, S, A, F] queries, keys and values: [B, S, A, F].

    By "cudnn" they are bfloat16 or float16, F is a multiple of 8 and at most 128, and the program is for an
    NVIDIA GPU; "xla" is the same by operations that any device has.
    """
    length, odd = query.shape[1], query.shape[1] % 2
    # gradients of odd lengths not every version of cuDNN has: one token more, which nobody looks at
    room = ((0, 0), (0, odd), (0, 0), (0, 0))
    query, key, value = (jnp.pad(x, room) for x in (query, key, value))
    # JAX's rule for many lanes takes no lengths that they share: these are made of a lane's own queries
    seen = length + 0 * query[:, 0, 0, 0].astype(jnp.int32)
    mixed = jax.nn.dot_product_attention(
        query,
        key,
        value,
        is_causal=causal,
        query_seq_lengths=seen + odd,  # a query without any key would have no softmax
        key_value_seq_lengths=seen,
        implementation=implementation,
    )
    return mixed[:, :length]
