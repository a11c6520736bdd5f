"""Who holds which examples: the partition recipes, and partitions as files.

Every recipe gives each example an owner and sorts by owner, so a million clients cost no loop over clients.
"""

import json
import os
import random
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fedtp_jax import config as cfg
from fedtp_jax.data.federated import Dataset, Partition, Shards
from fedtp_jax.data.reference_partition import RECIPES
from fedtp_jax.errors import UserError
from fedtp_jax.rng import Purpose, generator

MAX_TRIES = 100  # redraws of the Dirichlet recipe before it gives up
UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)
ARRAYS = ("train_indices", "train_offsets", "test_indices", "test_offsets")


def make_partition(config: Any, data: Dataset, seed: int) -> Partition:
    """The partition of `data` that `config` (one of config.PARTITIONS) describes.

    `seed` counts where config.seed is None or absent. Raises UserError where the recipe does not fit.
    """
    own_seed = getattr(config, "seed", None)
    clients = getattr(config, "clients", None)
    if clients is not None and clients > len(data.train):
        raise UserError(
            f"partition.clients: {clients} clients, but {data.name} has only {len(data.train)} train "
            f"examples; set partition.clients to {len(data.train)} or less"
        )
    partition = MAKERS[type(config)](config, data, seed if own_seed is None else own_seed)
    partition.check(data)
    return partition


def by_owner(owner: np.ndarray, clients: int) -> Shards:
    """Shards of `clients` clients from the owner [M] of every example; indices ascend within a client."""
    order = np.argsort(owner, kind="stable")
    return Shards(order, np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=clients))]))


# -------------------------------------------------------------------------------------- own recipes


def iid(config: cfg.Iid, data: Dataset, seed: int) -> Partition:
    """A permutation of each split, cut into equal parts; the first clients hold one more where needed."""
    rng = generator(seed, Purpose.PARTITION)
    return Partition(*(_equal_parts(rng, len(split), config.clients) for split in (data.train, data.test)))


def _equal_parts(rng: np.random.Generator, count: int, clients: int) -> Shards:
    sizes = count // clients + (np.arange(clients) < count % clients)
    return Shards(rng.permutation(count), np.concatenate([[0], np.cumsum(sizes)]))


def dirichlet(config: cfg.Dirichlet, data: Dataset, seed: int) -> Partition:
    """Each class is cut by p ~ Dirichlet(alpha * 1_N), train and test alike (Hsu et al., 2019).

    Drawn again until the smallest train shard has min_size examples; UserError if that cannot be or does not
    happen in MAX_TRIES.
    """
    if config.clients * config.min_size > len(data.train):
        raise UserError(
            f"partition.min_size: {config.clients} clients with at least {config.min_size} examples each "
            f"need {config.clients * config.min_size} train examples, but {data.name} has "
            f"{len(data.train)}; lower partition.min_size or partition.clients"
        )
    rng = generator(seed, Purpose.PARTITION)
    best = -1
    for _ in range(MAX_TRIES):
        train, test = _dirichlet_owners(rng, config, data)
        smallest = int(np.bincount(train, minlength=config.clients).min())
        if smallest >= config.min_size:
            return Partition(by_owner(train, config.clients), by_owner(test, config.clients))
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
        ends = np.cumsum(rng.dirichlet(np.full(config.clients, config.alpha)))
        if not abs(ends[-1] - 1) < 1e-6:
            raise UserError(
                f"partition.alpha: Dirichlet({config.alpha}) cannot be drawn in double precision; choose a "
                "value between 1e-3 and 1e6"
            )
        for split, owner in zip((data.train, data.test), owners, strict=True):
            members = rng.permutation(np.flatnonzero(split.y == label))
            # Midpoints, not cumulated floors: cuts are rounded without bias and every example has an owner.
            owner[members] = np.searchsorted(ends, (np.arange(len(members)) + 0.5) / max(len(members), 1))
    return owners


def pathological(config: cfg.Pathological, data: Dataset, seed: int) -> Partition:
    """Each client holds `classes_per_client` classes, each cut evenly for its owners (McMahan et al., 2017).

    The numbers of owners of any two classes differ by one at most. Raises UserError where a class would
    have no owner, or an owner no train example of it.
    """
    per_client, classes = config.classes_per_client, data.num_classes
    if per_client > classes:
        raise UserError(
            f"partition.classes_per_client: {per_client} classes a client, but {data.name} has only "
            f"{classes} classes; set it to {classes} or less"
        )
    if config.clients * per_client < classes:
        raise UserError(
            f"partition.clients: {config.clients} clients with {per_client} classes each leave some of the "
            f"{classes} classes of {data.name} to nobody; raise partition.clients to "
            f"{-(-classes // per_client)} or more, or partition.classes_per_client"
        )
    rng = generator(seed, Purpose.PARTITION)
    held = _deal_classes(rng, config.clients, per_client, classes)
    order = np.argsort(held, kind="stable")
    holders = np.split(order // per_client, np.cumsum(np.bincount(held, minlength=classes))[:-1])
    owners = np.empty(len(data.train), np.int64), np.empty(len(data.test), np.int64)
    for label, own in enumerate(holders):
        if (count := int(np.sum(data.train.y == label))) < len(own):
            raise UserError(
                f"partition: {len(own)} clients hold class {label}, but {data.name} has only {count} train "
                "examples of it; lower partition.clients or partition.classes_per_client"
            )
        for split, owner in zip((data.train, data.test), owners, strict=True):
            members = rng.permutation(np.flatnonzero(split.y == label))
            owner[members] = own[np.arange(len(members)) * len(own) // max(len(members), 1)]
    return Partition(*(by_owner(owner, config.clients) for owner in owners))


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


def natural(config: cfg.Natural, data: Dataset, seed: int) -> Partition:
    """Every group of the data is a client, by its number 0 to N - 1; it may lack train or test examples."""
    columns = []
    for name, split in (("train", data.train), ("test", data.test)):
        if split.group is None and len(split):
            raise UserError(
                f"partition natural: {data.name} does not say which group each {name} example belongs to; "
                "give from_arrays groups and groups_test (or the .npz file its columns), or choose "
                "another partition"
            )
        columns.append(np.zeros(0, np.int64) if split.group is None else split.group.astype(np.int64))
    ids = np.unique(np.concatenate(columns))
    if not np.array_equal(ids, np.arange(len(ids))):
        raise UserError(
            f"partition natural: {len(ids)} groups of {data.name} are numbered {ids.min()} to "
            f"{ids.max()}; number them 0 to {len(ids) - 1} without gaps"
        )
    return Partition(*(by_owner(column, len(ids)) for column in columns))


def reference(name: str) -> Callable[[Any, Dataset, int], Partition]:
    """The maker of the authors' recipe `name`, on the streams of np.random.seed and random.seed."""

    def make(config: Any, data: Dataset, seed: int) -> Partition:
        if seed >= 2**32:
            raise UserError(
                f"partition.seed: {seed} is too large for the authors' recipes; choose one below 2**32"
            )
        streams = np.random.RandomState(seed), random.Random(seed)
        return RECIPES[name](
            *streams, data.train.y, data.test.y, config.clients, getattr(config, "beta", 0.0)
        )

    return make


# --------------------------------------------------------------------------------------------- files


def from_file(config: cfg.PartitionFile, data: Dataset, seed: int) -> Partition:
    """Index lists from an .npz file that `save` wrote, or from JSON."""
    if config.file is None:
        raise UserError("partition.file: no file given; set partition.file to a saved .npz or a .json file")
    path = Path(config.file).expanduser()
    return load(path) if path.suffix == ".npz" else load_json(path)


def save(partition: Partition, path: Path) -> None:
    """Write an .npz file that holds the partition and its fingerprint; it appears whole or not at all."""
    parts = (partition.train.indices, partition.train.offsets, partition.test.indices, partition.test.offsets)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            arrays: dict[str, Any] = dict(zip(ARRAYS, parts, strict=True))
            np.savez_compressed(file, fingerprint=np.array(partition.fingerprint()), **arrays)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path) -> Partition:
    """The partition that `save` wrote. Raises UserError for a missing, foreign, damaged or changed file."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            values = {name: file[name] for name in (*ARRAYS, "fingerprint")}
    except FileNotFoundError:
        raise UserError(f"partition.file: no file {path}; check the path") from None
    except UNREADABLE as e:
        raise UserError(
            f"partition.file: {path} is not a partition that fedtp_jax saved, or is damaged ({e}); write "
            "it again"
        ) from None
    parts = [values[name] for name in ARRAYS]
    lawful = all(part.ndim == 1 and part.dtype.kind in "iu" for part in parts) and all(
        len(offsets) and offsets[0] == 0 and offsets[-1] == len(indices) and np.all(np.diff(offsets) >= 0)
        for indices, offsets in (parts[:2], parts[2:])
    )
    partition = Partition(Shards(*parts[:2]), Shards(*parts[2:])) if lawful else None
    if partition is None or partition.fingerprint() != str(values["fingerprint"]):
        raise UserError(
            f"partition.file: {path} was changed after it was saved: its fingerprint differs; save it "
            "again, or give your own lists as JSON"
        )
    return partition


def load_json(path: Path) -> Partition:
    """Index lists {"train": {"0": [..], ..}, "test": {..}} from JSON; UserError where it is not that."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"partition.file: no file {path}; check the path") from None
    except (OSError, ValueError) as e:
        raise UserError(
            f"partition.file: {path} cannot be read as JSON ({e}); mend or write it again"
        ) from None
    shards = []
    for split in ("train", "test"):
        lists = content.get(split) if isinstance(content, dict) else None
        if not isinstance(lists, dict):
            raise UserError(
                f"partition.file: {path} has no {split} lists; expected "
                '{"train": {"0": [..], ..}, "test": {"0": [..], ..}}'
            )
        if missing := {str(k) for k in range(len(lists))} - set(lists):
            raise UserError(
                f"partition.file: the {split} clients of {path} are not numbered 0 to {len(lists) - 1} ("
                f"{min(missing, key=int)} is missing); number them without gaps, with [] for an empty list"
            )
        shards.append(Shards.from_lists([_indices(lists[str(k)], path, split, k) for k in range(len(lists))]))
    return Partition(*shards)


def _indices(values: Any, path: Path, split: str, client: int) -> np.ndarray:
    if not isinstance(values, list) or not all(type(value) is int and abs(value) < 2**63 for value in values):
        raise UserError(
            f"partition.file: the {split} list of client {client} in {path} is not a list of integers; "
            "give positions of examples such as [0, 5, 7]"
        )
    return np.array(values, np.int64)


MAKERS: dict[type, Callable[[Any, Dataset, int], Partition]] = {
    cfg.Iid: iid,
    cfg.Dirichlet: dirichlet,
    cfg.Pathological: pathological,
    cfg.Natural: natural,
    cfg.PartitionFile: from_file,
    cfg.Homo: reference("homo"),
    cfg.NoniidLabeldir: reference("noniid-labeldir"),
    cfg.NoniidLabeldir100: reference("noniid-labeldir100"),
    cfg.NoniidLabeluni: reference("noniid-labeluni"),
    cfg.IidLabel100: reference("iid-label100"),
}
