"""Prepared TFDS array_record folders, read without TensorFlow and without the network.

TFDS stores examples in the order of a hash of their keys. `read` puts them back into the order of the
original files, so that one partition seed gives the same clients from either source.
"""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from fedtp_jax.core.errors import UserError, in_one_line
from fedtp_jax.data.archives import other_label
from fedtp_jax.data.dataset import Examples

_BATCH = 1000  # examples read at once


def default_root() -> Path:
    """The folder TFDS keeps its data sets in: TFDS_DATA_DIR, else tensorflow_datasets in the home folder."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def is_prepared(name: str, root: Path) -> bool:
    """Whether `root` holds `name` as array_record files."""
    return any((root / name).glob("*/*.array_record*"))


def has_other_format(name: str, root: Path) -> bool:
    """Whether `root` holds `name`, but only in formats such as TFRECORD, which need TensorFlow."""
    return not is_prepared(name, root) and any((root / name).glob("*/dataset_info.json"))


def read(name: str, root: Path, labels: range) -> tuple[Examples, Examples]:
    """Train and test examples of the prepared data set `name` in `root`, in the order of the original files.

    `name` is TFDS's, with its configuration where there are several; `labels` are those that may occur.

    Where examples carry their position in an `id` (CIFAR), they are sorted by it. Otherwise the stock
    builders number the examples by position, and the stored order is that of md5(split name + position): the
    shuffle is recomputed and undone. Nothing in such a folder says where an example came from, so one that
    was made in another way than by TFDS's builder comes out in another order, the same every time. Takes
    some 6 s for 60,000 images, most of it spent on decoding.

    Raises:
        UserError: the folder cannot be read, holds fewer examples than it declares, or other labels.
    """
    import tensorflow_datasets  # half a second, and only needed here

    splits = []
    for split in ("train", "test"):
        try:
            source = tensorflow_datasets.data_source(
                name,
                split=split,
                data_dir=str(root),
                download=False,
                # TFDS's own decoding takes twice as long and prints that it misses OpenCV.
                decoders={"image": tensorflow_datasets.decode.SkipDecoding()},
                builder_kwargs={"file_format": "array_record"},
            )
            expected = source.dataset_info.splits[split].num_examples
            if len(source) != expected:
                raise ValueError(f"{len(source)} {split} examples, but dataset_info.json declares {expected}")
            splits.append(_ordered(source, split))
            if strange := other_label(splits[-1].y, labels):
                raise ValueError(strange)
        except Exception as error:  # TFDS and array_record raise nearly anything on a damaged folder
            raise UserError(
                f"data: the TFDS folder {root / name} cannot be read ({in_one_line(error)}); "
                f"delete it and run `fedtp prepare {name}` again"
            ) from error
    return splits[0], splits[1]


def _ordered(source: Any, split: str) -> Examples:
    """All examples of a TFDS data source at their positions in the original files."""
    info = source.dataset_info
    x = np.empty((len(source), *info.features["image"].shape), np.uint8)
    y = np.empty(len(source), np.int32)
    ids: list[str] = []
    for start in range(0, len(source), _BATCH):
        batch = source.__getitems__(list(range(start, min(start + _BATCH, len(source)))))
        for row, example in enumerate(batch, start):
            x[row], y[row] = _decoded(example["image"], x.shape[1:]), example["label"]
        ids += [example["id"] for example in batch if "id" in example]
    if ids:
        order = np.argsort(np.array(ids), kind="stable")
    elif info.disable_shuffling:
        order = np.arange(len(source))
    else:
        order = np.argsort(stored_positions(len(source), split))
    return Examples(x[order], y[order])


def _decoded(png: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """[H, W, C] uint8; refuses another shape, which NumPy would broadcast."""
    from PIL import Image

    packed = Image.open(io.BytesIO(png))
    if packed.size != (shape[1], shape[0]):  # before it is unpacked, to whatever size
        raise ValueError(f"an image of {packed.width}x{packed.height} pixels, expected {shape[1]}x{shape[0]}")
    image = np.atleast_3d(np.asarray(packed))
    if image.shape != shape or image.dtype != np.uint8:
        raise ValueError(f"an image of shape {image.shape} {image.dtype}, expected {shape} uint8")
    return image


def stored_positions(count: int, split: str) -> np.ndarray:
    """[count] original position of each stored example, for keys 0 to count - 1.

    As tensorflow_datasets.core.hashing and core.shuffle put them; a part of the order of every TFDS version.
    """
    hashes = [hashlib.md5(f"{split}{key}".encode(), usedforsecurity=False).digest() for key in range(count)]
    return np.array(sorted(range(count), key=hashes.__getitem__), np.int64)
