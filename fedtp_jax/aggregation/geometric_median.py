"""The point of least summed distance to all changes.

Pillutla, Kakade, Harchaoui: Robust Aggregation for Federated Learning. IEEE Transactions on Signal Processing
70, 2022, arXiv 1912.13445, algorithm 2 (smoothed Weiszfeld), on the distances between the changes alone: each
of its points is a mean of them.
"""

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.learning.method import Rule

SMOOTHING = 1e-6  # the least distance
STEPS = 100  # each leaves half of what a minority sends from far away


def geometric_median(settings: config.GeometricMedian) -> Rule:
    """sum_k weight_k |z - x_k| is least at it; STEPS steps towards it from the weighted mean."""

    def weights(distances: jax.Array, weight: jax.Array, n: jax.Array) -> jax.Array:
        def step(_: int, share: jax.Array) -> jax.Array:
            # |x_i - z|^2 of z = sum_j share_j x_j
            to_others = jnp.matmul(distances, share, precision="highest")
            away = to_others - jnp.dot(share, to_others, precision="highest") / 2
            away = jnp.sqrt(jnp.maximum(away, 0.0))
            new = weight / jnp.maximum(away, SMOOTHING)
            return new / new.sum()

        return jax.lax.fori_loop(0, STEPS, step, weight / weight.sum())

    return Rule(weights=weights)
