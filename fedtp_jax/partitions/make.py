"""The partition that a configuration asks for."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from fedtp_jax import config as cfg
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.partitions.dirichlets import balanced_dirichlet, extended_dirichlet
from fedtp_jax.partitions.files import from_file
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.partitions.recipes import dirichlet, feature_noise, iid, pathological, quantity
from fedtp_jax.partitions.reference import RECIPES
from fedtp_jax.partitions.sampled import sampled
from fedtp_jax.partitions.superclass import pachinko, superclass
from fedtp_jax.partitions.validation import set_aside


def make_partition(config: Any, data: Dataset, seed: int) -> Partition:
    """The partition of `data` that `config` (one of config.PARTITIONS) describes.

    `seed` counts where config.seed is None or absent. Raises UserError where the recipe does not fit.
    """
    if isinstance(config, cfg.Own):
        return _own(config, data, seed)
    own_seed = getattr(config, "seed", None)
    seed = seed if own_seed is None else own_seed
    clients = getattr(config, "clients", None)
    # the other recipes give every example to one client
    if clients is not None and clients > len(data.train) and not isinstance(config, cfg.Sampled):
        raise UserError(
            f"partition.clients: {clients} clients, but {data.name} has only {len(data.train)} train "
            f"examples; set partition.clients to {len(data.train)} or less, or choose "
            "partition.name=sampled, whose clients may hold the same examples"
        )
    if data.train.group is not None and not isinstance(config, cfg.Natural):
        raise UserError(
            f"partition.name: {cfg.name_of(config)!r} would ignore the groups that the data name; "
            "use partition.name=natural, or leave the groups out of the data"
        )
    if data.task != "classification" and not isinstance(config, WITHOUT_CLASSES):
        raise UserError(
            f"partition.name: {cfg.name_of(config)!r} goes by classes, of which {data.name} has none "
            f"(task.kind is {data.task}); choose one of natural (by groups), iid, quantity, feature_noise, "
            "file"
        )
    try:
        partition = MAKERS[type(config)](config, data, seed)
    except MemoryError:
        raise UserError(
            f"partition.clients: the lists of {clients} clients do not fit into memory; use fewer"
        ) from None
    partition.check(data)
    return set_aside(partition, data, config.validation, seed) if config.validation else partition


def _own(part: cfg.Own, data: Dataset, seed: int) -> Partition:
    """The user's partition, or what their function of (data, seed) gives."""
    partition = part.value
    if not isinstance(partition, Partition):
        partition = part.call("partition", data, seed)
    if not isinstance(partition, Partition):
        raise UserError(
            f"partition: {part.of} returned a {type(partition).__name__}, expected a Partition; give a "
            "function of data and seed that returns what Partition.from_lists(train, test) does"
        )
    partition.check(data)
    return partition


def client_names(config: Any, data: Dataset) -> tuple[str, ...]:
    """[N] names of the clients, in the order of their numbers; empty unless they are groups with names."""
    return data.group_names if isinstance(config, cfg.Natural) else ()


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
    return Partition.from_owners(columns[0], columns[1], len(ids))


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


WITHOUT_CLASSES = cfg.Natural, cfg.Iid, cfg.Quantity, cfg.PartitionFile, cfg.FeatureNoise
MAKERS: dict[type, Callable[[Any, Dataset, int], Partition]] = {
    cfg.Iid: iid,
    cfg.Dirichlet: dirichlet,
    cfg.BalancedDirichlet: balanced_dirichlet,
    cfg.ExtendedDirichlet: extended_dirichlet,
    cfg.Pathological: pathological,
    cfg.Superclass: superclass,
    cfg.Pachinko: pachinko,
    cfg.Quantity: quantity,
    cfg.Sampled: sampled,
    cfg.FeatureNoise: feature_noise,
    cfg.Natural: natural,
    cfg.PartitionFile: from_file,
    cfg.Homo: reference("homo"),
    cfg.NoniidLabeldir: reference("noniid-labeldir"),
    cfg.NoniidLabeldir100: reference("noniid-labeldir100"),
    cfg.NoniidLabeluni: reference("noniid-labeluni"),
    cfg.IidLabel100: reference("iid-label100"),
}
