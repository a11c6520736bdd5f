"""Gaussian noise that each client adds to what it sends, in units of the norm to which it was clipped.

Of itself no guarantee for users: an upload that is seen alone is protected by this noise, a sum of K of them
by sqrt(K) times as much.
"""

import jax

from fedtp_jax import config
from fedtp_jax.core.tree import Leaves
from fedtp_jax.uploads.transform import Transform, joined, parted


def noise(settings: config.Noise, norm: float) -> Transform:
    """change + multiplier * norm * N(0, I)."""

    def apply(change: Leaves, key: jax.Array) -> Leaves:
        entries = joined(change)
        return parted(entries + settings.multiplier * norm * jax.random.normal(key, entries.shape), change)

    return Transform(apply)
