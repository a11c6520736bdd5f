"""CIFAR-100's tree of superclasses, and the recipes by which clients differ along it."""

import numpy as np

from fedtp_jax import config as cfg
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.rng import Purpose, generator
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.partitions.recipes import deal_by_counts, deal_evenly, draw, log_dirichlet

# CIFAR-100's subclasses (fine labels), five for each of the 20 superclasses (coarse labels) in order.
# fmt: off
FINE_LABELS = (
    (4, 30, 55, 72, 95), (1, 32, 67, 73, 91), (54, 62, 70, 82, 92), (9, 10, 16, 28, 61),
    (0, 51, 53, 57, 83), (22, 39, 40, 86, 87), (5, 20, 25, 84, 94), (6, 7, 14, 18, 24),
    (3, 42, 43, 88, 97), (12, 17, 37, 68, 76), (23, 33, 49, 60, 71), (15, 19, 21, 31, 38),
    (34, 63, 64, 66, 75), (26, 45, 77, 79, 99), (2, 11, 35, 46, 98), (27, 29, 44, 78, 93),
    (36, 50, 65, 74, 80), (47, 52, 56, 59, 96), (8, 13, 48, 58, 90), (41, 69, 81, 85, 89),
)
# fmt: on
# the superclass of each of the 100 classes
SUPERCLASS_OF = tuple(int(place) // 5 for place in np.argsort(np.ravel(FINE_LABELS)))


def superclass(config: cfg.Superclass, data: Dataset, seed: int) -> Partition:
    """Every client holds the classes of one superclass, each cut evenly for its owners, test like train.

    The numbers of clients of any two superclasses differ by one at most. Raises UserError unless there are
    CIFAR-100's classes, a client for every superclass, and a train example of a class for each of its owners.
    """
    _require_cifar100("superclass", data)
    if config.clients < len(FINE_LABELS):
        raise UserError(
            f"partition.clients: {config.clients} clients with one superclass each leave some of the "
            f"{len(FINE_LABELS)} superclasses to nobody; set partition.clients to {len(FINE_LABELS)} or more"
        )
    rng = generator(seed, Purpose.PARTITION)
    clients, order = rng.permutation(config.clients), rng.permutation(len(FINE_LABELS))
    place_of = np.empty(data.num_classes, np.int64)
    place_of[np.array(FINE_LABELS)] = order[:, None]
    # In another order for every class, so that not the same clients get each class's odd examples.
    holders = [rng.permutation(clients[place :: len(FINE_LABELS)]) for place in place_of]
    return deal_evenly(rng, data, holders, config.clients)


def pachinko(config: cfg.Pachinko, data: Dataset, seed: int) -> Partition:
    """Pachinko allocation (Reddi et al., 2021): a client draws superclasses, then classes, then examples.

    All train examples are dealt without replacement, equally many to every client but for one; what is used
    up drops out of the trees of the clients that draw later. A class's test examples go to its holders in
    proportion to their train examples of it. Raises UserError unless there are CIFAR-100's classes, or where
    a class is for testing alone.
    """
    _require_cifar100("pachinko", data)
    rng = generator(seed, Purpose.PARTITION)
    counts = _draw_trees(rng, config, np.bincount(data.train.y, minlength=data.num_classes))
    return deal_by_counts(rng, data, counts, "pachinko")


def _draw_trees(rng: np.random.Generator, config: cfg.Pachinko, available: np.ndarray) -> np.ndarray:
    """[N, 100] train examples of each class for each client, of the [100] that there are."""
    tree = np.array(FINE_LABELS)
    left = available[tree]
    size, odd = divmod(int(available.sum()), config.clients)
    counts = np.zeros((config.clients, len(available)), np.int64)
    # Whoever draws last gets what is left; a random order keeps that from following the clients' numbers.
    for client in rng.permutation(config.clients):
        roots = log_dirichlet(rng, "alpha", config.alpha, (1, len(tree)))
        twigs = log_dirichlet(rng, "beta", config.beta, tree.shape)
        of_superclass = draw(rng, np.array([size + (client < odd)]), roots, left.sum(axis=1)[None])
        drawn = draw(rng, of_superclass[0], twigs, left)
        counts[client, tree] = drawn
        left -= drawn
    return counts


def _require_cifar100(name: str, data: Dataset) -> None:
    if data.num_classes != 100:
        raise UserError(
            f"partition {name}: made for CIFAR-100's 100 classes in 20 superclasses, but {data.name} has "
            f"{data.num_classes} classes; set data.name to cifar100 or choose another partition"
        )
