"""The change that lies nearest to most others.

Blanchard, El Mhamdi, Guerraoui, Stainer: Machine Learning with Adversaries: Byzantine Tolerant Gradient
Descent. NIPS 2017, arXiv 1703.02757, section 4 (Krum) and 5 (multi-Krum).
"""

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.learning.method import Rule


def krum(settings: config.Krum) -> Rule:
    """The mean of the `selected` changes of least score.

    That is the sum of the squared distances to the n - f - 2 nearest others, of which there is one at least
    even where a cohort is too small for f attackers.
    """

    def weights(distances: jax.Array, weight: jax.Array, n: jax.Array) -> jax.Array:
        places = jnp.arange(len(distances))
        there = places < n
        other = there[None, :] & ~jnp.eye(len(distances), dtype=bool)
        # the most that Krum stands: n >= 2 f + 3
        attackers = (n - 3) // 2 if settings.attackers is None else settings.attackers
        nearest = jnp.clip(n - attackers - 2, 1, jnp.maximum(n - 1, 0))
        ordered = jnp.sort(jnp.where(other, distances, jnp.inf), axis=1)
        scores = jnp.where(places < nearest, ordered, 0.0).sum(1)
        rank = jnp.argsort(jnp.argsort(jnp.where(there, scores, jnp.inf)))
        some = jnp.minimum(settings.selected, n)
        return jnp.where(rank < some, 1.0 / some.astype(jnp.float32), 0.0)

    return Rule(weights=weights)
