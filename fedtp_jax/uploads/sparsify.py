"""Few entries are sent: the largest, or some drawn by lot.

Aji, Heafield: Sparse Communication for Distributed Gradient Descent. EMNLP 2017, arXiv 1704.05021. Stich,
Cordonnier, Jaggi: Sparsified SGD with Memory. NeurIPS 2018, arXiv 1809.07599. Konecny, McMahan, Yu,
Richtarik, Suresh, Bacon: Federated Learning: Strategies for Improving Communication Efficiency. arXiv
1610.05492, section 2.
"""

import math

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core.tree import Leaves
from fedtp_jax.uploads.transform import Message, Transform, joined, parted

SEED = 64  # bits, of which both sides draw the same entries


def top_k(settings: config.TopK) -> Transform:
    """The k entries of largest size, of equal ones the first; the others 0."""

    def apply(change: Leaves, key: jax.Array) -> Leaves:
        entries = joined(change)
        _, places = jax.lax.top_k(jnp.abs(entries), kept(settings.share, entries.size))
        return parted(jnp.zeros_like(entries).at[places].set(entries[places]), change)

    def cost(message: Message, sizes: list[int]) -> Message:
        k, index = kept(settings.share, sum(sizes)), math.ceil(math.log2(max(sum(sizes), 2)))
        return message._replace(values=k, beside=message.beside + k * index)

    return Transform(apply, cost, settings.error_feedback)


def random_k(settings: config.RandomK) -> Transform:
    """k entries drawn without replacement; without error feedback times n / k, which keeps the mean."""

    def apply(change: Leaves, key: jax.Array) -> Leaves:
        entries = joined(change)
        k = kept(settings.share, entries.size)
        places = jax.random.permutation(key, entries.size)[:k]
        scale = 1.0 if settings.error_feedback else entries.size / k
        return parted(jnp.zeros_like(entries).at[places].set(scale * entries[places]), change)

    def cost(message: Message, sizes: list[int]) -> Message:
        return message._replace(values=kept(settings.share, sum(sizes)), beside=message.beside + SEED)

    return Transform(apply, cost, settings.error_feedback)


def kept(share: float, size: int) -> int:
    """How many of `size` entries: rounded, one at least."""
    return max(1, min(size, round(share * size)))
