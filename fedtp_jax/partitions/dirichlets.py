"""Dirichlet recipes whose clients hold equally many examples, or equally many classes."""

import numpy as np

from fedtp_jax import config as cfg
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.rng import Purpose, generator
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.partitions.recipes import (
    MAX_TRIES,
    class_holders,
    cumulated_shares,
    deal_by_counts,
    draw,
    log_dirichlet,
    require_room,
)


def balanced_dirichlet(config: cfg.BalancedDirichlet, data: Dataset, seed: int) -> Partition:
    """Equal shards, each drawn by class proportions p ~ Dirichlet(alpha * 1_C) of its client (Hsu et al.,
    2019, section 2); who draws late takes what is left.

    Test examples of a class are dealt in proportion to its train examples. Raises UserError for a class that
    has test examples alone.
    """
    rng = generator(seed, Purpose.PARTITION)
    left = np.bincount(data.train.y, minlength=data.num_classes)[None]
    size, odd = divmod(len(data.train), config.clients)
    counts = np.zeros((config.clients, data.num_classes), np.int64)
    for client in rng.permutation(config.clients):
        weights = log_dirichlet(rng, "alpha", config.alpha, (1, data.num_classes))
        drawn = draw(rng, np.array([size + (client < odd)]), weights, left)
        counts[client] = drawn[0]
        left = left - drawn
    return deal_by_counts(rng, data, counts, "balanced_dirichlet")


def extended_dirichlet(config: cfg.ExtendedDirichlet, data: Dataset, seed: int) -> Partition:
    """Every client holds `classes_per_client` classes, each cut by p ~ Dirichlet(alpha * 1) for its holders,
    train and test alike (Li & Lyu, 2023, section 5.1).

    Drawn again until the smallest train shard has min_size examples. Raises UserError where `pathological`
    would, or where that cannot be or does not happen in MAX_TRIES.
    """
    require_room(config, data)
    rng = generator(seed, Purpose.PARTITION)
    best = -1
    for _ in range(MAX_TRIES):
        owners = np.empty(len(data.train), np.int64), np.empty(len(data.test), np.int64)
        for label, holders in enumerate(class_holders(rng, config, data)):
            ends = cumulated_shares(rng, config.alpha, len(holders))
            for split, owner in zip((data.train, data.test), owners, strict=True):
                members = rng.permutation(np.flatnonzero(split.y == label))
                middle = (np.arange(len(members)) + 0.5) / max(len(members), 1)
                owner[members] = holders[np.searchsorted(ends, middle)]
        smallest = int(np.bincount(owners[0], minlength=config.clients).min())
        if smallest >= config.min_size:
            return Partition.from_owners(*owners, config.clients)
        best = max(best, smallest)
    raise UserError(
        f"partition.min_size: no draw in {MAX_TRIES} gave every client {config.min_size} train examples; "
        f"the smallest shard was {best} at best. Raise partition.alpha (now {config.alpha}) or "
        f"partition.classes_per_client, or lower partition.clients or partition.min_size"
    )
