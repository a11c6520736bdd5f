"""Signs alone, with a size for each leaf.

Karimireddy, Rebjock, Stich, Jaggi: Error Feedback Fixes SignSGD and other Gradient Compression Schemes. ICML
2019, arXiv 1901.09847, algorithm 1, leaf by leaf.
"""

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core.tree import Leaves
from fedtp_jax.uploads.transform import Message, Transform

SCALE = 32  # bits of a leaf's mean size


def sign(settings: config.Sign, few: bool = False) -> Transform:
    """mean |v| of the leaf, times + 1 or - 1; of 0 it is + 1, for a bit says no third.

    `few`: entries that a step before left out stay 0, and are not of the mean.
    """

    def signs(leaf: jax.Array) -> jax.Array:
        if not few:
            return jnp.where(leaf >= 0, 1.0, -1.0) * jnp.mean(jnp.abs(leaf))
        return jnp.sign(leaf) * jnp.sum(jnp.abs(leaf)) / jnp.maximum(jnp.sum(leaf != 0), 1).astype(leaf.dtype)

    def apply(change: Leaves, key: jax.Array) -> Leaves:
        return {path: signs(leaf) for path, leaf in change.items()}

    def cost(message: Message, sizes: list[int]) -> Message:
        return message._replace(bits=1, beside=message.beside + SCALE * len(sizes))

    return Transform(apply, cost, settings.error_feedback)
