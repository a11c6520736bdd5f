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


def sign(settings: config.Sign) -> Transform:
    """mean |v| of the leaf, times + 1 or - 1; of 0 it is + 1, for a bit says no third."""

    def apply(change: Leaves, key: jax.Array) -> Leaves:
        return {
            path: jnp.where(leaf >= 0, 1.0, -1.0) * jnp.mean(jnp.abs(leaf)) for path, leaf in change.items()
        }

    def cost(message: Message, sizes: list[int]) -> Message:
        return message._replace(bits=1, beside=message.beside + SCALE * len(sizes))

    return Transform(apply, cost, settings.error_feedback)
