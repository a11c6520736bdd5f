"""Partitions as files: .npz with a fingerprint, and index lists in JSON."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from fedtp_jax import config as cfg
from fedtp_jax.core.errors import UserError, in_one_line, user_path
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.data.unpack import load_npz
from fedtp_jax.partitions.partition import Partition, Shards

ARRAYS = ("train_indices", "train_offsets", "test_indices", "test_offsets")
VALIDATION = ("validation_indices", "validation_offsets")  # where some are set aside


def from_file(config: cfg.PartitionFile, data: Dataset, seed: int) -> Partition:
    """Index lists from an .npz file that `save_partition` wrote, or from JSON."""
    if config.file is None:
        raise UserError("partition.file: no file given; set partition.file to a saved .npz or a .json file")
    path = user_path(config.file)
    return load_partition(path) if path.suffix == ".npz" else load_json(path)


def save_partition(partition: Partition, path: Path) -> None:
    """Write an .npz file that holds the partition and its fingerprint; it appears whole or not at all."""
    shards = [
        partition.train,
        partition.test,
        *([] if partition.validation is None else [partition.validation]),
    ]
    parts = [array for part in shards for array in (part.indices, part.offsets)]
    temporary = path.with_name(path.name + ".part")  # one name: what a killed process leaves is written over
    try:
        with temporary.open("wb") as file:
            # in the narrowest integers: 20 million positions among 60,000 deflate ten times as fast
            arrays: dict[str, Any] = {
                name: part.astype(np.min_scalar_type(part.max(initial=0)))
                for name, part in zip((*ARRAYS, *VALIDATION), parts, strict=False)
            }
            if partition.noise is not None:
                arrays["noise"] = partition.noise
            np.savez_compressed(file, fingerprint=np.array(partition.fingerprint()), **arrays)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_partition(path: Path) -> Partition:
    """What `save_partition` wrote; UserError for a file that is missing, foreign, damaged or changed."""
    try:
        values = load_npz(path)
    except FileNotFoundError:
        raise UserError(f"partition.file: no file {path}; check the path") from None
    except Exception as error:  # zipfile, zlib and NumPy raise nearly anything on a damaged file
        raise UserError(
            f"partition.file: {path} is not a partition that fedtp_jax saved, or is damaged "
            f"({in_one_line(error)}); write it again"
        ) from None
    names = ARRAYS + (VALIDATION if not values.keys().isdisjoint(VALIDATION) else ())
    if missing := [name for name in (*names, "fingerprint") if name not in values]:
        raise UserError(
            f"partition.file: {path} is not a partition that fedtp_jax saved: it lacks {missing[0]}; choose "
            "another file, or give your own lists as JSON"
        )
    noise = values.get("noise")
    parts = [values[name] for name in names]
    lawful = all(part.ndim == 1 and part.dtype.kind in "iu" for part in parts) and all(
        len(offsets)
        and offsets[0] == 0
        and offsets[-1] == len(indices)
        and np.all(offsets[1:] >= offsets[:-1])
        for indices, offsets in zip(parts[::2], parts[1::2], strict=True)
    )
    lawful = lawful and (noise is None or (noise.ndim == 1 and noise.dtype == np.float32))
    partition = None
    if lawful:
        train, test, *others = (Shards(*pair) for pair in zip(parts[::2], parts[1::2], strict=True))
        partition = Partition(train, test, noise, *others)
    if partition is None or partition.fingerprint() != str(values["fingerprint"]):
        raise UserError(
            f"partition.file: {path} was changed after it was saved: its fingerprint differs; save it "
            "again, or give your own lists as JSON"
        )
    return partition


def load_json(path: Path) -> Partition:
    """Index lists {"train": {"0": [..], ..}, "test": {..}} from JSON; UserError where it is not that.

    There may be a third, "validation".
    """
    try:
        content = json.loads(path.read_text("utf-8"), object_pairs_hook=_unique, parse_int=_int)
    except FileNotFoundError:
        raise UserError(f"partition.file: no file {path}; check the path") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"partition.file: {path} cannot be read as JSON ({in_one_line(error)}); mend or write it again"
        ) from None
    shards = []
    third = ["validation"] if isinstance(content, dict) and "validation" in content else []
    for split in ("train", "test", *third):
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
    return Partition(shards[0], shards[1], None, *shards[2:])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of a name that stands twice in it Python would silently take the last."""
    if len(found := dict(pairs)) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{twice!r} stands twice in one object")
    return found


def _int(digits: str) -> int:
    """A number of JSON; Python refuses to read one of thousands of digits, which is too large anyway."""
    return int(digits[:30])


def _indices(values: Any, path: Path, split: str, client: int) -> np.ndarray:
    if not isinstance(values, list) or not all(type(value) is int and abs(value) < 2**63 for value in values):
        raise UserError(
            f"partition.file: the {split} list of client {client} in {path} is not a list of integers; "
            "give positions of examples such as [0, 5, 7]"
        )
    return np.array(values, np.int64)
