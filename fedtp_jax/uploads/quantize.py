"""QSGD: entries rounded by lot to few levels, so that the mean is what it was.

Alistarh, Grubic, Li, Tomioka, Vojnovic: QSGD: Communication-Efficient SGD via Gradient Quantization and
Encoding. NIPS 2017, arXiv 1610.02132, section 3.1, with the largest entry of a leaf in place of its 2-norm,
and entries of as many bits each in place of a code of their frequencies.
"""

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core.tree import Leaves
from fedtp_jax.uploads.transform import Message, Transform

SCALE = 32  # bits of a leaf's largest entry


def quantize(settings: config.Quantize) -> Transform:
    """largest * sign(v) * level / s of each leaf, s = 2^(bits - 1) - 1.

    The level is s |v| / largest, rounded up or down by lot.
    """
    levels = 2 ** (settings.bits - 1) - 1

    def rounded(leaf: jax.Array, key: jax.Array) -> jax.Array:
        largest = jnp.max(jnp.abs(leaf), initial=0.0)
        place = levels * jnp.abs(leaf) / jnp.where(largest > 0, largest, 1.0)
        level = jnp.floor(place + jax.random.uniform(key, leaf.shape))
        return jnp.sign(leaf) * jnp.minimum(level, levels) * (largest / levels)

    def apply(change: Leaves, key: jax.Array) -> Leaves:
        keys = jax.random.split(key, len(change))
        return {path: rounded(change[path], keys[k]) for k, path in enumerate(sorted(change))}

    def cost(message: Message, sizes: list[int]) -> Message:
        return message._replace(bits=settings.bits, beside=message.beside + SCALE * len(sizes))

    return Transform(apply, cost)
