"""Packed files, read with a bound: a small file can unpack to more than any memory holds."""

import gzip
import math
import zipfile
from pathlib import Path

import numpy as np

LIMIT = 2**30  # bytes that a file may unpack to however small it is
RATIO = 100  # and times its own size, if that is more: images and labels pack less well


def most_bytes(path: Path) -> int:
    """How many bytes the packed file `path` may unpack to."""
    return max(LIMIT, RATIO * path.stat().st_size)


class OversizeError(ValueError):
    """A file would unpack to more than is read."""


class BoundedGzip(gzip.GzipFile):
    """A .gz file; OversizeError before more than `LIMIT` bytes of it are unpacked."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = LIMIT
        self._check(self.tell() + size)
        return super().read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._check(offset)
        return super().seek(offset, whence)

    def _check(self, end: int) -> None:
        if end > LIMIT:
            raise OversizeError(f"it unpacks to more than {LIMIT >> 30} GiB")


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file; ValueError, in words for its user, if they are not plain or too large.

    Raises beside it what zipfile, zlib and NumPy raise for a damaged file.
    """
    # Opened here because np.load leaves a damaged file open.
    with path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            raise ValueError("it is no whole zip archive")
        with zipfile.ZipFile(stream) as archive:
            announced = sum(_announced(archive, member) for member in archive.infolist())
        if announced > most_bytes(path):
            raise OversizeError(f"it would unpack to {announced} bytes")
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def _announced(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Bytes of one array by its header; it is not read."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError(
            f"{member.filename.removesuffix('.npy')} holds Python objects, which are never unpickled"
        )
    if min(shape, default=0) < 0:
        raise ValueError(f"an array of shape {shape}")
    return math.prod(shape) * dtype.itemsize
