"""Norm clipping: no client changes more than so much.

McMahan, Ramage, Talwar, Zhang: Learning Differentially Private Recurrent Language Models. ICLR 2018, arXiv
1710.06963, section 3.1. As a defence: Sun, Kairouz, Suresh, McMahan: Can You Really Backdoor Federated
Learning? arXiv 1911.07963.
"""

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core.tree import Leaves
from fedtp_jax.uploads.transform import Transform, norm_of


def clip(settings: config.Clip) -> Transform:
    """change * min(1, norm / |change|)."""

    def apply(change: Leaves, key: jax.Array) -> Leaves:
        length = norm_of(change)
        scale = jnp.where(length > settings.norm, settings.norm / length, 1.0)
        return {path: scale * leaf for path, leaf in change.items()}

    return Transform(apply)
