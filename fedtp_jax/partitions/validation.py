"""Part of every client's train shard set aside, to be validated on.

All clients at once: a million cost no loop over clients.
"""

import numpy as np

from fedtp_jax.core.errors import UserError
from fedtp_jax.core.rng import Purpose, generator
from fedtp_jax.data.dataset import Dataset, Windows
from fedtp_jax.partitions.partition import Partition, Shards


def set_aside(partition: Partition, data: Dataset, share: float, seed: int) -> Partition:
    """The partition whose clients are validated on `share` of their train shards, and train on the rest.

    Of n train examples round(share * n) are set aside, but one at least and n - 1 at most: none of a single
    one. Examples of every class in proportion, by largest remainders, at random within a class; both parts
    keep the order of the shard. Windows of a text overlap, so that of a client's windows the last ones are
    set aside, and those before them that predict some of the same characters are left out; a client whose
    text is too short for that trains on all of it.

    Raises UserError where no client can spare an example, or the partition has validation shards already.
    """
    if partition.validation is not None:
        raise UserError(
            f"partition.validation: {share}, but partition.file lists validation examples already; leave one "
            "of the two out"
        )
    shards, sizes = partition.train, partition.train.sizes
    wanted = np.clip(np.rint(share * sizes), 1, np.maximum(sizes - 1, 0)).astype(np.int64)
    wanted[sizes < 2] = 0
    if isinstance(data.train, Windows):
        aside, left = _ends(shards, data.train, wanted)
    else:
        aside = _in_proportion(shards, data.strata[0], wanted, generator(seed, Purpose.VALIDATION))
        left = ~aside
    if not aside.any():
        raise UserError(
            f"partition.validation: {share}, but no client of {data.name} has enough train examples to spare "
            "one; leave it out, or use fewer clients"
        )
    return partition._replace(train=_part(shards, left), validation=_part(shards, aside))


def _in_proportion(
    shards: Shards, labels: np.ndarray, wanted: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """[M] bool: `wanted` [N] of each client's examples, each class in its share of the client's shard.

    What the whole numbers below the shares leave goes to the largest remainders, among equal ones by lot.
    """
    owner, sizes = _owners(shards), shards.sizes
    group = owner * (int(labels.max(initial=0)) + 1) + labels[shards.indices]  # a client's of one class
    order = np.lexsort((rng.random(len(group)), group))
    _, first, counts = np.unique(group[order], return_index=True, return_counts=True)
    of = owner[order][first]  # [groups], ascending
    taken, remainder = np.divmod(wanted[of] * counts, sizes[of])
    missing = wanted - np.bincount(of, taken, len(sizes)).astype(np.int64)
    by_remainder = np.lexsort((rng.random(len(of)), -remainder, of))
    rank = np.empty_like(of)
    rank[by_remainder] = np.arange(len(of)) - np.searchsorted(of, of)
    taken += rank < missing[of]
    aside = np.zeros(len(group), bool)
    aside[order] = np.arange(len(group)) - np.repeat(first, counts) < np.repeat(taken, counts)
    return aside


def _ends(shards: Shards, text: Windows, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[M] bool: the last `wanted` [N] of each client's windows, and those that share no label with them."""
    owner, start = _owners(shards), text.start[shards.indices].astype(np.int64)
    order = np.lexsort((start, owner))
    aside = np.zeros(len(owner), bool)
    aside[order] = np.arange(len(owner)) >= (shards.offsets[1:] - wanted)[owner[order]]
    begin = np.full(len(shards), np.iinfo(np.int64).max)  # where the first that is set aside begins
    np.minimum.at(begin, owner[aside], start[aside])
    left = ~aside & (start <= begin[owner] - text.length)
    short = (np.bincount(owner, left, len(shards)) == 0)[owner]
    return aside & ~short, left | short


def _owners(shards: Shards) -> np.ndarray:
    """[M] whose each example is, in the order of the shards."""
    return np.repeat(np.arange(len(shards)), shards.sizes)


def _part(shards: Shards, chosen: np.ndarray) -> Shards:
    """The shards without what is not `chosen` [M]."""
    sizes = np.bincount(_owners(shards)[chosen], minlength=len(shards))
    return Shards(shards.indices[chosen], np.concatenate([[0], np.cumsum(sizes)]))
