"""Original files of published image sets, and those of MNIST, Fashion-MNIST and EMNIST (IDX).

A folder is first asked whether it holds the files (`find_idx`: names only) and then read. The examples keep
the order of the files, which is the canonical order everywhere in this package.
"""

import dataclasses
import gzip
import math
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fedtp_jax.core.errors import UserError, in_one_line
from fedtp_jax.data.unpack import OversizeError, most_bytes

_DAMAGE = (OSError, EOFError, zlib.error, tarfile.TarError, OversizeError)


class Split(NamedTuple):
    """x: [M, H, W, C] uint8; labels: name ("label", for CIFAR-100 also "coarse_label") -> [M] uint8."""

    x: np.ndarray
    labels: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Originals:
    """Both splits in the order of the files, class names as far as the files tell them, and their place."""

    train: Split
    test: Split
    names: dict[str, list[str]]
    where: Path


def damaged(path: Path, what: str) -> UserError:
    """The error for a file that is there but wrong; `what` says how."""
    return UserError(
        f"data.directory: {path} is damaged or not the original file: {what}; "
        "fetch it again or name another folder"
    )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what broken or unreadable files raise into UserError."""
    try:
        yield
    except _DAMAGE as error:
        raise damaged(path, in_one_line(error)) from error


def _idx_names(name: str) -> dict[tuple[str, str], str]:
    """(split, x or y) -> file of the image set `name`."""
    starts = {"train": "train", "test": "t10k"}
    if name.startswith("emnist/"):
        starts = {split: f"{name.replace('/', '-')}-{split}" for split in starts}
    ends = {"x": "images-idx3-ubyte", "y": "labels-idx1-ubyte"}
    return {(split, role): f"{starts[split]}-{ends[role]}" for split in starts for role in ends}


def find_idx(name: str, folder: Path) -> dict[tuple[str, str], Path] | None:
    """The four IDX files of `name` in `folder`, plain or .gz; None if there is none of them.

    Raises:
        UserError: some of the four are there and others are not.
    """
    found, names = {}, _idx_names(name)
    for role, name in names.items():
        # Some unpackers leave train-images.idx3-ubyte.
        spellings = [name, f"{name}.gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz"]
        found[role] = next((folder / s for s in spellings if (folder / s).is_file()), None)
    missing = [names[role] for role, path in found.items() if path is None]
    if len(missing) == len(names):
        return None
    if missing:
        raise UserError(
            f"data.directory: {folder} lacks {', '.join(missing)} (or .gz); put all four IDX files there"
        )
    return {role: path for role, path in found.items() if path is not None}


def read_idx(files: dict[tuple[str, str], Path], labels: range) -> Originals:
    """The 28x28 grey images and labels of `find_idx`'s files.

    Raises:
        UserError: a file is damaged, has another shape, or images and labels differ in number.
    """
    splits = {}
    for split in ("train", "test"):
        x = _read_idx(files[split, "x"], dimensions=3)
        y = _read_idx(files[split, "y"], dimensions=1)
        if x.shape[1:] != (28, 28):
            raise damaged(files[split, "x"], f"its images are {x.shape[1]}x{x.shape[2]}, expected 28x28")
        check_labels(files[split, "y"], y, len(x), labels)
        splits[split] = Split(x[..., None], {"label": y})
    return Originals(splits["train"], splits["test"], {}, files["train", "x"].parent)


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    packed = path.suffix == ".gz"
    with reading(path), gzip.open(path) if packed else path.open("rb") as file:
        header = file.read(4 + 4 * dimensions)
        if len(header) < 4 + 4 * dimensions or header[:4] != bytes((0, 0, 8, dimensions)):
            start = header[:4].hex() or "nothing"
            raise damaged(path, f"it starts with {start}, expected 0000080{dimensions}")
        shape = tuple(int(n) for n in np.frombuffer(header, ">u4", offset=4))
        expected = math.prod(shape)
        there = path.stat().st_size - len(header)
        if expected > most_bytes(path) if packed else expected != there:
            raise damaged(
                path, f"its header announces {expected} bytes, but it holds {there}{' packed' * packed}"
            )
        content = file.read(expected + 1)  # one too many is enough to know
    if len(content) != expected:
        held = "more" if len(content) > expected else len(content)
        raise damaged(path, f"its header announces {expected} bytes, but it holds {held}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def check_labels(path: Path, y: np.ndarray, examples: int, labels: range) -> None:
    """Raise UserError unless there is one of `labels` for each of at least one example."""
    if len(y) != examples:
        raise damaged(path, f"{len(y)} labels for {examples} images")
    if not examples:
        raise damaged(path, "it holds no example")
    if strange := other_label(y, labels):
        raise damaged(path, strange)


def other_label(y: np.ndarray, labels: range) -> str:
    """What is wrong with `y`, or nothing."""
    for label in (y.max(), y.min()):
        if label not in labels:
            return f"it holds label {label}, expected {labels[0]} to {labels[-1]}"
    return ""
