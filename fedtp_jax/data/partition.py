"""Who holds which examples: the partition that a configuration asks for, and partitions as files."""

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
from fedtp_jax.data import recipes, sampled, superclass_recipes
from fedtp_jax.data.federated import Dataset, Partition, Shards
from fedtp_jax.data.reference_partition import RECIPES
from fedtp_jax.errors import UserError

UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)
ARRAYS = ("train_indices", "train_offsets", "test_indices", "test_offsets")


def make_partition(config: Any, data: Dataset, seed: int) -> Partition:
    """The partition of `data` that `config` (one of config.PARTITIONS) describes.

    `seed` counts where config.seed is None or absent. Raises UserError where the recipe does not fit.
    """
    if isinstance(config, cfg.Own):
        config.value.check(data)
        return config.value
    own_seed = getattr(config, "seed", None)
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
    partition = MAKERS[type(config)](config, data, seed if own_seed is None else own_seed)
    partition.check(data)
    return partition


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
            # in the narrowest integers: 20 million positions among 60,000 deflate ten times as fast
            arrays: dict[str, Any] = {
                name: part.astype(np.min_scalar_type(part.max(initial=0)))
                for name, part in zip(ARRAYS, parts, strict=True)
            }
            if partition.noise is not None:
                arrays["noise"] = partition.noise
            np.savez_compressed(file, fingerprint=np.array(partition.fingerprint()), **arrays)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path) -> Partition:
    """The partition that `save` wrote. Raises UserError for a missing, foreign, damaged or changed file."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            values = {name: file[name] for name in (*ARRAYS, "fingerprint")}
            noise = file.get("noise")
    except FileNotFoundError:
        raise UserError(f"partition.file: no file {path}; check the path") from None
    except UNREADABLE as e:
        raise UserError(
            f"partition.file: {path} is not a partition that fedtp_jax saved, or is damaged ({e}); write "
            "it again"
        ) from None
    parts = [values[name] for name in ARRAYS]
    lawful = all(part.ndim == 1 and part.dtype.kind in "iu" for part in parts) and all(
        len(offsets)
        and offsets[0] == 0
        and offsets[-1] == len(indices)
        and np.all(offsets[1:] >= offsets[:-1])
        for indices, offsets in (parts[:2], parts[2:])
    )
    lawful = lawful and (noise is None or (noise.ndim == 1 and noise.dtype == np.float32))
    partition = Partition(Shards(*parts[:2]), Shards(*parts[2:]), noise) if lawful else None
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
    return Partition(shards[0], shards[1])


def _indices(values: Any, path: Path, split: str, client: int) -> np.ndarray:
    if not isinstance(values, list) or not all(type(value) is int and abs(value) < 2**63 for value in values):
        raise UserError(
            f"partition.file: the {split} list of client {client} in {path} is not a list of integers; "
            "give positions of examples such as [0, 5, 7]"
        )
    return np.array(values, np.int64)


MAKERS: dict[type, Callable[[Any, Dataset, int], Partition]] = {
    cfg.Iid: recipes.iid,
    cfg.Dirichlet: recipes.dirichlet,
    cfg.Pathological: recipes.pathological,
    cfg.Superclass: superclass_recipes.superclass,
    cfg.Pachinko: superclass_recipes.pachinko,
    cfg.Quantity: recipes.quantity,
    cfg.Sampled: sampled.sampled,
    cfg.FeatureNoise: recipes.feature_noise,
    cfg.Natural: natural,
    cfg.PartitionFile: from_file,
    cfg.Homo: reference("homo"),
    cfg.NoniidLabeldir: reference("noniid-labeldir"),
    cfg.NoniidLabeldir100: reference("noniid-labeldir100"),
    cfg.NoniidLabeluni: reference("noniid-labeluni"),
    cfg.IidLabel100: reference("iid-label100"),
}
