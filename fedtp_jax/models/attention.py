"""Softmax attention: with a gradient written by hand, or as one kernel of a GPU."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from fedtp_jax.models.fused_attention import fused_attend
from fedtp_jax.models.products import turned


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    causal: bool = False,
    factors: jax.Array | None = None,
    fused: int | None = None,
    seen: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """softmax(q k^T / sqrt(F)) v of [B, S, A, F] queries, keys and values; and the softmax's weights.

    With `causal` position s sees positions up to s. `factors` [B, A, S, S], a dropout's, multiply the weights
    in the product. With `fused`, and without factors, `fused_attend` does it for so many of the S tokens, and
    the weights are [B, A, fused, fused]. `seen` [B, S] bool: only these positions are, by any other; not with
    `fused`.

    Returns:
      (values mixed, heads joined [B, S, A * F]; weights [B, A, S, S]).
    """
    b, s, a, f = query.shape
    if fused is not None:
        mixed = fused_attend(query, key, value, fused, causal)
    # queries are scaled, not scores, which are more
    query, key, value = (_heads_first(x[:, :fused]) for x in (query * f**-0.5, key, value))
    if fused is None:
        factors = None if factors is None else factors.reshape(b * a, s, s)
        seen = None if seen is None else jnp.repeat(seen, a, axis=0)[:, None]
        mixed = _attend(causal, query, key, value, factors, seen).reshape(b, a, s, f).swapaxes(1, 2)
    # for who asks: XLA drops what nobody reads, and computes once what is computed twice
    weights = _weights(causal, query, key, seen)
    return mixed.reshape(b, s, a * f), weights.reshape(b, a, *weights.shape[1:])


def _heads_first(x: jax.Array) -> jax.Array:
    """[B, S, A, F] -> [B * A, S, F]."""
    b, s, a, f = x.shape
    return x.swapaxes(1, 2).reshape(b * a, s, f)


def _weights(causal: bool, query: jax.Array, key: jax.Array, seen: jax.Array | None) -> jax.Array:
    """[N, S, S] of queries and keys [N, S, F], and of keys that are seen, [N, 1, S] or None."""
    scores = jnp.einsum("nsf,ntf->nst", query, key)
    if causal:
        scores = jnp.where(jnp.tri(scores.shape[-1], dtype=bool), scores, -jnp.inf)
    if seen is not None:
        scores = jnp.where(seen, scores, -jnp.inf)
    return jax.nn.softmax(scores.astype(jnp.float32)).astype(scores.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(causal: bool, query: Any, key: Any, value: Any, factors: Any, seen: Any) -> jax.Array:
    """Values [N, S, F] mixed for queries, keys and values [N, S, F], factors [N, S, S], `seen`, or None."""
    return _forward(causal, query, key, value, factors, seen)[0]


def _forward(
    causal: bool, query: Any, key: Any, value: Any, factors: Any, seen: Any
) -> tuple[jax.Array, Any]:
    weights = _weights(causal, query, key, seen)
    mixed = _times(weights, factors) @ value
    return mixed, (query, key, value, factors, weights, mixed)


def _backward(causal: bool, kept: Any, cotangent: jax.Array) -> tuple[Any, ...]:
    query, key, value, factors, weights, mixed = kept
    change = jnp.einsum("nsf,ntf->nst", cotangent, value)  # of the weights that were multiplied
    # the mean of the changes by the weights, over fewer numbers (Dao et al., 2022, section B.2)
    mean = jnp.sum((cotangent * mixed).astype(jnp.float32), -1, keepdims=True)
    slope = weights.astype(jnp.float32) * (_times(change, factors).astype(jnp.float32) - mean)
    slope = slope.astype(weights.dtype)
    return (
        slope @ key,
        turned(slope) @ query,
        turned(_times(weights, factors)) @ cotangent,
        None if factors is None else change * weights,
        None,
    )


_attend.defvjp(_forward, _backward)


def _times(weights: jax.Array, factors: jax.Array | None) -> jax.Array:
    return weights if factors is None else weights * factors
