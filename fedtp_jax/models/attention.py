"""Softmax attention, with a gradient written by hand: by itself XLA on CPU takes products that are slower."""

import functools
from typing import Any

import jax
import jax.numpy as jnp


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    causal: bool = False,
    factors: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """softmax(q k^T / sqrt(F)) v of [B, S, A, F] queries, keys and values; and the softmax's weights.

    With `causal` position s sees positions up to s. `factors` [B, A, S, S], a dropout's, multiply the weights
    in the product.

    Returns:
      (values mixed, heads joined [B, S, A * F]; weights [B, A, S, S]).
    """
    b, s, a, f = query.shape
    # queries are scaled, not scores, which are more
    query, key, value = (_heads_first(x) for x in (query * f**-0.5, key, value))
    factors = None if factors is None else factors.reshape(b * a, s, s)
    mixed, weights = _attend(causal, query, key, value, factors)
    mixed = mixed.reshape(b, a, s, f).swapaxes(1, 2).reshape(b, s, a * f)
    return mixed, weights.reshape(b, a, s, s)


def _heads_first(x: jax.Array) -> jax.Array:
    """[B, S, A, F] -> [B * A, S, F]."""
    b, s, a, f = x.shape
    return x.swapaxes(1, 2).reshape(b * a, s, f)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(causal: bool, query: Any, key: Any, value: Any, factors: Any) -> tuple[jax.Array, jax.Array]:
    """(mixed values [N, S, F], softmax weights [N, S, S]) of queries, keys and values [N, S, F]."""
    scores = jnp.einsum("nsf,ntf->nst", query, key)
    if causal:
        scores = jnp.where(jnp.tri(scores.shape[-1], dtype=bool), scores, -jnp.inf)
    weights = jax.nn.softmax(scores.astype(jnp.float32)).astype(scores.dtype)
    return _times(weights, factors) @ value, weights


def _forward(causal: bool, query: Any, key: Any, value: Any, factors: Any) -> tuple[Any, Any]:
    mixed, weights = _attend(causal, query, key, value, factors)
    return (mixed, weights), (query, key, value, factors, weights)


def _backward(causal: bool, kept: Any, cotangents: Any) -> tuple[Any, ...]:
    query, key, value, factors, weights = kept
    mixed, beside = cotangents
    change = jnp.einsum("nsf,ntf->nst", mixed, value)
    probabilities = weights.astype(jnp.float32)
    slope = (_times(change, factors) + beside).astype(jnp.float32)
    slope = probabilities * (slope - jnp.sum(slope * probabilities, -1, keepdims=True))
    slope = slope.astype(weights.dtype)
    return (
        slope @ key,
        slope.swapaxes(1, 2) @ query,
        _times(weights, factors).swapaxes(1, 2) @ mixed,
        None if factors is None else change * weights,
    )


_attend.defvjp(_forward, _backward)


def _times(weights: jax.Array, factors: jax.Array | None) -> jax.Array:
    return weights if factors is None else weights * factors
