"""The partition recipes for any labelled data.

Every recipe gives each example an owner and sorts by owner, or cuts a permutation, so a million clients cost
no loop over clients.
"""

from collections.abc import Sequence

import numpy as np

from fedtp_jax import config as cfg
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.rng import Purpose, generator
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.partitions.partition import Partition, Shards

MAX_TRIES = 100  # redraws of the Dirichlet recipe before it gives up


def iid(config: cfg.Iid | cfg.FeatureNoise, data: Dataset, seed: int) -> Partition:
    """A permutation of each split, cut into equal parts; the first clients hold one more where needed."""
    rng = generator(seed, Purpose.PARTITION)
    clients = np.arange(config.clients)
    train, test = (
        _cut(rng, len(split) // config.clients + (clients < len(split) % config.clients))
        for split in (data.train, data.test)
    )
    return Partition(train, test)


def feature_noise(config: cfg.FeatureNoise, data: Dataset, seed: int) -> Partition:
    """`iid` and, on client k's normalised inputs, Gaussian noise of std noise * k / (N - 1); 0 for N = 1.

    The authors' code (`homo` with `--noise`) draws it after normalising, too, but then clamps to [0, 255].
    """
    with np.errstate(over="ignore", invalid="ignore"):  # Partition.check refuses what float32 cannot hold
        noise = np.linspace(0, config.noise, config.clients).astype(np.float32)
    return iid(config, data, seed)._replace(noise=noise)


def quantity(config: cfg.Quantity, data: Dataset, seed: int) -> Partition:
    """A permutation of each split, cut into unequal sizes: min_size + p * rest, p ~ Dirichlet(alpha * 1_N).

    Test sizes are in the proportions of the train sizes, so a client may have none. Raises UserError where
    min_size does not fit.
    """
    require_room(config, data)
    rng = generator(seed, Purpose.PARTITION)
    free = len(data.train) - config.clients * config.min_size
    ends = np.rint(cumulated_shares(rng, config.alpha, config.clients) * free).astype(np.int64)
    ends += config.min_size * np.arange(1, config.clients + 1)
    test_ends = np.rint(ends * (len(data.test) / len(data.train))).astype(np.int64)
    return Partition(_cut(rng, np.diff(ends, prepend=0)), _cut(rng, np.diff(test_ends, prepend=0)))


def _cut(rng: np.random.Generator, sizes: np.ndarray) -> Shards:
    """A random permutation of sum(sizes) examples, cut into shards of these sizes."""
    return Shards(rng.permutation(int(sizes.sum())), np.concatenate([[0], np.cumsum(sizes)]))


def dirichlet(config: cfg.Dirichlet, data: Dataset, seed: int) -> Partition:
    """Each class is cut by p ~ Dirichlet(alpha * 1_N), train and test alike (Hsu et al., 2019).

    Drawn again until the smallest train shard has min_size examples; UserError if that cannot be or does not
    happen in MAX_TRIES.
    """
    require_room(config, data)
    rng = generator(seed, Purpose.PARTITION)
    best = -1
    for _ in range(MAX_TRIES):
        train, test = _dirichlet_owners(rng, config, data)
        smallest = int(np.bincount(train, minlength=config.clients).min())
        if smallest >= config.min_size:
            return Partition.from_owners(train, test, config.clients)
        best = max(best, smallest)
    raise UserError(
        f"partition.min_size: no draw in {MAX_TRIES} gave every client {config.min_size} train examples; "
        f"the smallest shard was {best} at best. Raise partition.alpha (now {config.alpha}), lower "
        f"partition.clients (now {config.clients}) or partition.min_size"
    )


def _dirichlet_owners(
    rng: np.random.Generator, config: cfg.Dirichlet, data: Dataset
) -> tuple[np.ndarray, np.ndarray]:
    """One try: the owner of every train and of every test example."""
    owners = np.empty(len(data.train), np.int64), np.empty(len(data.test), np.int64)
    for label in range(data.num_classes):
        ends = cumulated_shares(rng, config.alpha, config.clients)
        for split, owner in zip((data.train, data.test), owners, strict=True):
            members = rng.permutation(np.flatnonzero(split.y == label))
            # Midpoints, not cumulated floors: cuts are rounded without bias and every example has an owner.
            owner[members] = np.searchsorted(ends, (np.arange(len(members)) + 0.5) / max(len(members), 1))
    return owners


def cumulated_shares(rng: np.random.Generator, alpha: float, clients: int) -> np.ndarray:
    """[clients] cumulated p ~ Dirichlet(alpha * 1_N), the last one 1."""
    ends = np.cumsum(rng.dirichlet(np.full(clients, alpha)))
    if not abs(ends[-1] - 1) < 1e-6:
        raise undrawable("alpha", alpha)
    return ends / ends[-1]


def draw(rng: np.random.Generator, need: np.ndarray, log_weights: np.ndarray, left: np.ndarray) -> np.ndarray:
    """[R, B] numbers drawn: need[r] in row r of the left[r] in its bins, with these weights, no replacement.

    Draws beyond what a bin has are made again among the others, which is what drawing one by one and
    renormalising comes to.
    """
    taken = np.zeros_like(left)
    while len(rows := np.flatnonzero(rest := need - taken.sum(axis=1))):
        logs = np.where(taken[rows] < left[rows], log_weights[rows], -np.inf)
        weights = np.exp(logs - logs.max(axis=1, keepdims=True))
        drawn = rng.multinomial(rest[rows], weights / weights.sum(axis=1, keepdims=True))
        taken[rows] = np.minimum(taken[rows] + drawn, left[rows])
    return taken


def log_dirichlet(
    rng: np.random.Generator, field: str, concentration: float, shape: tuple[int, int]
) -> np.ndarray:
    """Logs of Dirichlet weights along the last axis, up to a constant: weights themselves may underflow."""
    with np.errstate(over="ignore"):
        # Gamma(a) is Gamma(a + 1) * U^(1 / a), and -log(U) is exponential.
        logs = np.log(rng.standard_gamma(concentration + 1, shape))
        logs -= rng.standard_exponential(shape) / concentration
    if not np.isfinite(logs).all():
        raise undrawable(field, concentration)
    return logs


def undrawable(field: str, concentration: float) -> UserError:
    """The error for a Dirichlet concentration that is too large or too small, or not a number."""
    return UserError(
        f"partition.{field}: Dirichlet({concentration}) cannot be drawn in double precision; choose a value "
        "between 1e-3 and 1e6"
    )


def require_room(config: cfg.Dirichlet | cfg.ExtendedDirichlet | cfg.Quantity, data: Dataset) -> None:
    if config.clients * config.min_size > len(data.train):
        raise UserError(
            f"partition.min_size: {config.clients} clients with at least {config.min_size} examples each "
            f"need {config.clients * config.min_size} train examples, but {data.name} has "
            f"{len(data.train)}; lower partition.min_size or partition.clients"
        )


def pathological(config: cfg.Pathological, data: Dataset, seed: int) -> Partition:
    """Each client holds `classes_per_client` classes, each cut evenly for its owners (McMahan et al., 2017).

    The numbers of owners of any two classes differ by one at most. Raises UserError where a class would
    have no owner, or an owner no train example of it.
    """
    rng = generator(seed, Purpose.PARTITION)
    return deal_evenly(rng, data, class_holders(rng, config, data), config.clients)


def class_holders(
    rng: np.random.Generator, config: cfg.Pathological | cfg.ExtendedDirichlet, data: Dataset
) -> list[np.ndarray]:
    """For each class the clients that hold it, `classes_per_client` classes a client.

    Raises UserError where there are not so many classes, or one would have no owner.
    """
    per_client, classes = config.classes_per_client, data.num_classes
    if per_client > classes:
        raise UserError(
            f"partition.classes_per_client: {per_client} classes a client, but {data.name} has only "
            f"{count_of(classes, 'class', 'classes')}; set it to {classes} or less"
        )
    if config.clients * per_client < classes:
        own = count_of(per_client, "class", "classes")
        who = count_of(config.clients, f"client with {own} leaves", f"clients with {own} each leave")
        raise UserError(
            f"partition.clients: {who} some of the {classes} classes of {data.name} to nobody; raise "
            "partition.clients to "
            f"{-(-classes // per_client)} or more, or partition.classes_per_client"
        )
    held = _deal_classes(rng, config.clients, per_client, classes)
    order = np.argsort(held, kind="stable")
    return np.split(order // per_client, np.cumsum(np.bincount(held, minlength=classes))[:-1])


def deal_evenly(
    rng: np.random.Generator, data: Dataset, holders: Sequence[np.ndarray], clients: int
) -> Partition:
    """Each class cut evenly, in train and test, for the clients that `holders` names for it.

    Raises UserError where a holder would get no train example of its class.
    """
    owners = np.empty(len(data.train), np.int64), np.empty(len(data.test), np.int64)
    for label, own in enumerate(holders):
        if (count := int(np.sum(data.train.y == label))) < len(own):
            raise UserError(
                f"partition: {count_of(len(own), 'client holds', 'clients hold')} class {label}, but "
                f"{data.name} has only {count_of(count, 'train example')} of it; lower partition.clients or "
                "the number of classes that each holds"
            )
        for split, owner in zip((data.train, data.test), owners, strict=True):
            members = rng.permutation(np.flatnonzero(split.y == label))
            owner[members] = own[np.arange(len(members)) * len(own) // max(len(members), 1)]
    return Partition.from_owners(*owners, clients)


def deal_by_counts(rng: np.random.Generator, data: Dataset, counts: np.ndarray, name: str) -> Partition:
    """Train examples by `counts` [N, C], which is all of them; a class's test examples in proportion.

    Raises UserError for a class that has test examples alone; `name` of the recipe.
    """
    owners = np.empty(len(data.train), np.int64), np.empty(len(data.test), np.int64)
    for label in range(data.num_classes):
        train, test = (rng.permutation(np.flatnonzero(split.y == label)) for split in (data.train, data.test))
        if len(test) and not len(train):
            raise UserError(
                f"partition {name}: {data.name} has {len(test)} test but no train examples of class "
                f"{label}, so no client would hold them; add train examples, or leave them out"
            )
        owners[0][train] = np.repeat(np.arange(len(counts)), counts[:, label])
        owners[1][test] = in_proportion(rng, counts[:, label], len(test))
    return Partition.from_owners(*owners, len(counts))


def in_proportion(rng: np.random.Generator, counts: np.ndarray, number: int) -> np.ndarray:
    """[number] owners such that each of N has its share by `counts` [N], but for less than one; ascending."""
    total = int(counts.sum())
    at = (np.arange(number) * total + rng.integers(max(total, 1))) // max(number, 1)
    return np.searchsorted(np.cumsum(counts), at, side="right")


def _deal_classes(rng: np.random.Generator, clients: int, per_client: int, classes: int) -> np.ndarray:
    """[clients * per_client] labels, distinct within a client; every round deals every class once."""
    rounds: list[np.ndarray] = []
    held = np.empty(0, np.int64)  # of the client whose classes began in the round before
    for _ in range(-(-clients * per_client // classes)):
        free = rng.permutation(np.setdiff1d(np.arange(classes), held))
        need = per_client - len(held) if len(held) else 0
        rounds.append(np.concatenate([free[:need], rng.permutation(np.concatenate([held, free[need:]]))]))
        begun = len(rounds) * classes % per_client
        held = rounds[-1][classes - begun :]
    return np.concatenate(rounds)[: clients * per_client]
