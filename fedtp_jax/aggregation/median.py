"""Entry by entry the median, or the mean of those that are left when the ends are cut off.

Yin, Chen, Ramchandran, Bartlett: Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates.
ICML 2018, arXiv 1803.01498, definitions 1 and 2.
"""

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.config.checks import CLOSE
from fedtp_jax.learning.method import Rule


def median(settings: config.Median) -> Rule:
    """The middle entry, of an even number the mean of the two."""

    def entries(changes: jax.Array, n: jax.Array) -> jax.Array:
        ordered = _ordered(changes, n)
        return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2

    return Rule(entries=entries)


def trimmed_mean(settings: config.TrimmedMean) -> Rule:
    """The mean without the floor(share * n) smallest and as many largest."""

    def entries(changes: jax.Array, n: jax.Array) -> jax.Array:
        cut = jnp.floor(settings.share * n.astype(jnp.float32) + CLOSE).astype(n.dtype)
        cut = jnp.minimum(cut, (n - 1) // 2)
        place = jnp.arange(len(changes))[:, None]
        inside = (place >= cut) & (place < n - cut)
        return jnp.where(inside, _ordered(changes, n), 0.0).sum(0) / (n - 2 * cut).astype(jnp.float32)

    return Rule(entries=entries)


def _ordered(changes: jax.Array, n: jax.Array) -> jax.Array:
    """[K, c] ascending in every column, who is not there last."""
    there = jnp.arange(len(changes))[:, None] < n
    return jnp.sort(jnp.where(there, changes, jnp.inf), axis=0)
