"""The recipes by which the authors of FedTP split their data, draw for draw.

Every function consumes the same random numbers in the same order as the authors' program, so that the same
seed gives the same examples, in the same order, to the same client. Written anew from a description of that
program (github.com/zhyczy/FedTP, checkout 3cca0d7) and checked against hashes of its output.

All recipes take (numpy, python, train, test, clients, beta): the streams of `np.random` and of `random` as
the program seeds them, the labels [M] of both splits, the number N of clients, and the Dirichlet
concentration.
"""

import random
from collections.abc import Callable, Sequence

import numpy as np

from fedtp_jax.core.errors import UserError
from fedtp_jax.partitions.partition import Partition, Shards
from fedtp_jax.partitions.superclass import FINE_LABELS

Labels = np.ndarray  # [M] integers
Stream = np.random.RandomState  # the generator behind np.random.seed
Recipe = Callable[[Stream, random.Random, Labels, Labels, int, float], Partition]

MIN_SHARD = 10  # noniid-labeldir draws again while any train or test shard is smaller
MAX_TRIES = 1000  # the authors' program would try for ever
HIERARCHY_SEED = 12345  # fixed in the authors' program for the two CIFAR-100 recipes
FINE_CONCENTRATION = 10.0  # Dirichlet concentration over the subclasses of a superclass


def homo(
    numpy: Stream, python: random.Random, train: Labels, test: Labels, clients: int, beta: float
) -> Partition:
    """A random equal split of train, then of test; the first clients hold one more where needed."""
    parts = [np.array_split(numpy.permutation(len(labels)), clients) for labels in (train, test)]
    return Partition(Shards.from_lists(parts[0]), Shards.from_lists(parts[1]))


def noniid_labeldir(
    numpy: Stream, python: random.Random, train: Labels, test: Labels, clients: int, beta: float
) -> Partition:
    """Each class by proportions from Dirichlet(beta), but nothing more for clients that are full already.

    Full is a train shard of at least the average size. Raises UserError where the recipe cannot end.
    """
    name = "partition noniid-labeldir"
    if clients * MIN_SHARD > min(len(train), len(test)):
        raise UserError(
            f"{name}: {clients} clients with at least {MIN_SHARD} examples each do not fit into "
            f"{len(train)} train and {len(test)} test examples; set partition.clients to "
            f"{min(len(train), len(test)) // MIN_SHARD} or less"
        )
    smallest = 0
    for _ in range(MAX_TRIES):
        shards = _draw_labeldir(numpy, train, test, clients, beta)
        smallest = min(len(part) for split in shards for part in split)
        if smallest >= MIN_SHARD:
            break
    else:
        raise UserError(
            f"{name}: in {MAX_TRIES} tries no draw gave every client {MIN_SHARD} train and test examples "
            f"(the last one's smallest shard: {smallest}); raise partition.beta (now {beta}) or lower "
            f"partition.clients (now {clients})"
        )
    for parts in zip(*shards, strict=True):
        for part in parts:
            numpy.shuffle(part)
    return Partition(Shards.from_lists(shards[0]), Shards.from_lists(shards[1]))


def _draw_labeldir(
    numpy: Stream, train: np.ndarray, test: np.ndarray, clients: int, beta: float
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """One try of noniid-labeldir: the clients' train and test lists, class after class."""
    sizes = np.zeros(clients, np.int64)
    pieces: tuple[list[list[np.ndarray]], ...] = ([], [])  # per split and class, one piece for every client
    for label in range(_num_classes(train, test)):
        members = [np.flatnonzero(labels == label) for labels in (train, test)]
        for split in members:
            numpy.shuffle(split)
        share = numpy.dirichlet(np.full(clients, beta)) * (sizes < len(train) / clients)
        if not share.sum() > 0:
            raise UserError(
                "partition noniid-labeldir: every client that is not full drew a share of 0 of class "
                f"{label} (the authors' program would go on with NaN); raise partition.beta (now {beta}), "
                f"lower partition.clients (now {clients}) or change partition.seed"
            )
        share = np.cumsum(share / share.sum())
        for split, out in zip(members, pieces, strict=True):
            out.append(np.split(split, (share * len(split)).astype(np.int64)[:-1]))
        sizes += [len(piece) for piece in pieces[0][-1]]
    first, second = ([np.concatenate(own) for own in zip(*split, strict=True)] for split in pieces)
    return first, second


def noniid_labeldir100(
    numpy: Stream, python: random.Random, train: Labels, test: Labels, clients: int, beta: float
) -> Partition:
    """CIFAR-100: each client draws superclasses (Dirichlet(beta)), subclasses (Dirichlet(10)), then examples.

    Train and test are one pool here, so a client's ratio of both is random. Reseeds `numpy`: the seed decides
    only which client gets which list. Raises UserError unless there are 100 classes.
    """
    _require_100_classes("noniid-labeldir100", train, test)
    labels = np.concatenate([train, test])
    own = random.Random(HIERARCHY_SEED)
    numpy.seed(HIERARCHY_SEED)
    pool = _shuffled_classes(own, labels)
    tree = {coarse: [f for f in fine if pool[f]] for coarse, fine in enumerate(FINE_LABELS)}
    lists = [_draw_hierarchy(numpy, own, pool, tree, len(labels) // clients, beta) for _ in range(clients)]
    python.shuffle(lists)
    return Partition(
        Shards.from_lists([part[part < len(train)] for part in lists]),
        Shards.from_lists([part[part >= len(train)] - len(train) for part in lists]),
    )


def _draw_hierarchy(
    numpy: Stream,
    own: random.Random,
    pool: dict[int, list[int]],
    tree: dict[int, list[int]],
    size: int,
    beta: float,
) -> np.ndarray:
    """[size] examples of one client, removed from `pool`; used-up labels are removed from `tree`."""
    coarse_weights = numpy.dirichlet(np.full(len(tree), beta))
    fine_weights = {
        coarse: numpy.dirichlet(np.full(len(fine), FINE_CONCENTRATION)) for coarse, fine in tree.items()
    }
    _require_weight(coarse_weights.sum())
    taken = np.empty(size, np.int64)
    for i in range(size):
        at_coarse = int(numpy.multinomial(1, coarse_weights).argmax())
        coarse = list(tree)[at_coarse]
        at_fine = int(numpy.multinomial(1, fine_weights[coarse]).argmax())
        rest = pool[tree[coarse][at_fine]]
        taken[i] = rest.pop(own.randrange(len(rest)))
        if not rest:
            del tree[coarse][at_fine]
            fine_weights[coarse] = _without(fine_weights[coarse], at_fine)
        if not tree[coarse]:
            del tree[coarse]
            coarse_weights = _without(coarse_weights, at_coarse)
    return taken


def _without(weights: np.ndarray, position: int) -> np.ndarray:
    """Weights less one entry, summing to 1 again."""
    rest = np.delete(weights, position)
    if not len(rest):
        return rest
    _require_weight(rest.sum())
    return rest / rest.sum()


def _require_weight(total: float) -> None:
    if not total > 0:
        raise UserError(
            "partition noniid-labeldir100: the labels to choose from drew a share of 0 (the authors' program "
            "would go on with NaN); raise partition.beta"
        )


def noniid_labeluni(
    numpy: Stream, python: random.Random, train: Labels, test: Labels, clients: int, beta: float
) -> Partition:
    """The pathological recipe: 2 classes a client (10 of 100), in uneven shares u / sum(u), u ~ U(.4, .6).

    Shares are floored, so some examples stay unused. Raises UserError unless the classes go round evenly.
    """
    classes = _num_classes(train, test)
    per_client = 10 if classes == 100 else 2
    if per_client * clients % classes:
        raise UserError(
            f"partition noniid-labeluni: {clients} clients with {per_client} classes each do not share "
            f"{classes} classes evenly; choose partition.clients so that {per_client} * clients is a "
            f"multiple of {classes}"
        )
    owners = per_client * clients // classes
    shares = []
    for _ in range(classes):
        draw = numpy.uniform(0.4, 0.6, owners)
        shares.append(list(draw / draw.sum()))
    holds = []
    for _ in range(clients * per_client):
        left = np.array([len(rest) for rest in shares])
        label = int(numpy.choice(np.flatnonzero(left == left.max())))
        holds.append((label, shares[label].pop()))
    lists = [_hand_out(python, labels, holds, per_client) for labels in (train, test)]
    return Partition(Shards.from_lists(lists[0]), Shards.from_lists(lists[1]))


def _hand_out(
    python: random.Random, labels: np.ndarray, holds: Sequence[tuple[int, float]], per_client: int
) -> list[np.ndarray]:
    """The clients' lists, `per_client` (label, share) entries of `holds` each; classes are shuffled first."""
    members = [np.flatnonzero(labels == label) for label in range(1 + max(label for label, _ in holds))]
    for part in members:
        python.shuffle(part)  # type: ignore[arg-type]
    used = [0] * len(members)
    pieces = []
    for label, share in holds:
        start, used[label] = used[label], used[label] + int(len(members[label]) * share)
        pieces.append(members[label][start : used[label]])
    return [np.concatenate(pieces[i : i + per_client]) for i in range(0, len(pieces), per_client)]


def iid_label100(
    numpy: Stream, python: random.Random, train: Labels, test: Labels, clients: int, beta: float
) -> Partition:
    """CIFAR-100: client i holds a fifth of each subclass of superclass i // 5; seeds do not count.

    Reseeds `numpy`, as the authors' program does. Raises UserError unless there are 100 clients and
    100 classes large enough to be shared by five clients.
    """
    _require_100_classes("iid-label100", train, test)
    if clients != 100:
        raise UserError(
            "partition iid-label100: works for 100 clients only (5 for each of 20 superclasses), not for "
            f"{clients}; set partition.clients to 100"
        )
    own = random.Random(HIERARCHY_SEED)
    numpy.seed(HIERARCHY_SEED)
    pools = [_shuffled_classes(own, labels) for labels in (train, test)]
    counts = [len(labels) // clients // 5 for labels in (train, test)]
    return Partition(_fifths(own, pools[0], counts[0]), _fifths(own, pools[1], counts[1]))


def _fifths(own: random.Random, pool: dict[int, list[int]], count: int) -> Shards:
    """For 100 clients, `count` examples of each subclass of their superclass, removed from `pool`."""
    lists: list[np.ndarray] = []
    for client in range(100):
        taken: list[int] = []
        for label in FINE_LABELS[client // 5]:
            if len(pool[label]) < count:
                raise UserError(
                    f"partition iid-label100: class {label} has too few examples for five clients with "
                    f"{count} each; the recipe needs classes of equal size, as in CIFAR-100; choose "
                    "another partition"
                )
            taken += own.sample(pool[label], count)
            gone = set(taken)
            pool[label] = [index for index in pool[label] if index not in gone]
        lists.append(np.array(taken, np.int64))
    return Shards.from_lists(lists)


def _shuffled_classes(own: random.Random, labels: np.ndarray) -> dict[int, list[int]]:
    """The examples of each of 100 classes, in the order of one random sample of all examples."""
    pool: dict[int, list[int]] = {label: [] for label in range(100)}
    for index in own.sample(range(len(labels)), len(labels)):
        pool[int(labels[index])].append(index)
    return pool


def _num_classes(train: np.ndarray, test: np.ndarray) -> int:
    return 1 + int(max(labels.max(initial=0) for labels in (train, test)))


def _require_100_classes(name: str, train: np.ndarray, test: np.ndarray) -> None:
    if (found := _num_classes(train, test)) != 100:
        raise UserError(
            f"partition {name}: made for CIFAR-100's 100 classes, but the data has {found}; set data.name "
            "to cifar100 or choose another partition"
        )


RECIPES: dict[str, Recipe] = {
    "homo": homo,
    "noniid-labeldir": noniid_labeldir,
    "noniid-labeldir100": noniid_labeldir100,
    "noniid-labeluni": noniid_labeluni,
    "iid-label100": iid_label100,
}
