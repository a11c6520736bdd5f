"""CIFAR-10 and CIFAR-100 from their original archives, binary or python, without unpacking them to disk."""

import dataclasses
import io
import pickle
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fedtp_jax.config.convert import show
from fedtp_jax.core.errors import UserError, in_one_line
from fedtp_jax.data.archives import Originals, Split, check_labels, damaged, reading
from fedtp_jax.data.unpack import BoundedGzip


@dataclasses.dataclass(frozen=True)
class _Edition:
    """One of the published forms of a CIFAR set: its folder, its archive, its files and what they hold."""

    folder: str
    archive: str
    train: tuple[str, ...]
    test: str
    classes: dict[str, int]  # label -> number of classes, in the order of the binary record
    keys: dict[str, str]  # label -> key in the pickled dict; empty: binary edition
    names: dict[str, str]  # label -> file (binary) or key in the meta file (python) of the class names
    meta: str = ""


_TEN = {"label": 10}
_HUNDRED = {"coarse_label": 20, "label": 100}
_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
_EDITIONS = {
    "cifar10": (
        _Edition(
            "cifar-10-batches-bin",
            "cifar-10-binary.tar.gz",
            tuple(f"{batch}.bin" for batch in _BATCHES),
            "test_batch.bin",
            _TEN,
            {},
            {"label": "batches.meta.txt"},
        ),
        _Edition(
            "cifar-10-batches-py",
            "cifar-10-python.tar.gz",
            _BATCHES,
            "test_batch",
            _TEN,
            {"label": "labels"},
            {"label": "label_names"},
            "batches.meta",
        ),
    ),
    "cifar100": (
        _Edition(
            "cifar-100-binary",
            "cifar-100-binary.tar.gz",
            ("train.bin",),
            "test.bin",
            _HUNDRED,
            {},
            {"coarse_label": "coarse_label_names.txt", "label": "fine_label_names.txt"},
        ),
        _Edition(
            "cifar-100-python",
            "cifar-100-python.tar.gz",
            ("train",),
            "test",
            _HUNDRED,
            {"coarse_label": "coarse_labels", "label": "fine_labels"},
            {"coarse_label": "coarse_label_names", "label": "fine_label_names"},
            "meta",
        ),
    ),
}


class CifarFiles(NamedTuple):
    """Where one edition lies: a folder that holds its files, or its .tar.gz."""

    edition: _Edition
    path: Path


def find_cifar(name: str, place: Path) -> CifarFiles | None:
    """The binary or python edition of `name` ("cifar10", "cifar100") at `place`, or None.

    `place` is the folder with the files, the folder above it, a folder with the .tar.gz, or the .tar.gz.
    """
    for edition in _EDITIONS[name]:
        if place.name == edition.archive and place.is_file():
            return CifarFiles(edition, place)
        for folder in (place, place / edition.folder):
            # The python edition's "train" and "test" are also common names of folders.
            if any((folder / file).is_file() for file in (*edition.train, edition.test)):
                return CifarFiles(edition, folder)
    for edition in _EDITIONS[name]:
        if (place / edition.archive).is_file():
            return CifarFiles(edition, place / edition.archive)
    return None


def read_cifar(files: CifarFiles) -> Originals:
    """The 32x32 colour images of `find_cifar`'s files, with fine and coarse labels for CIFAR-100.

    The python edition is read by an unpickler that knows uint8 arrays and nothing else.

    Raises:
        UserError: a file is missing or damaged, or its pickle holds something else.
    """
    edition, place = files
    contents = _tar_members(edition, place) if place.is_file() else _folder_members(edition, place)
    for file in (*edition.train, edition.test):
        if file not in contents:
            raise UserError(f"data.directory: {place} lacks {file}; put the whole {edition.archive} there")
    read: Callable[[_Edition, Path, bytes], Split] = _python_batch if edition.keys else _binary_batch
    parts = [read(edition, place / file, contents.pop(file)) for file in edition.train]
    train = Split(
        np.concatenate([part.x for part in parts]),
        {label: np.concatenate([part.labels[label] for part in parts]) for label in edition.classes},
    )
    test = read(edition, place / edition.test, contents[edition.test])
    return Originals(train, test, _class_names(edition, place, contents), place)


def _wanted(edition: _Edition) -> set[str]:
    return {*edition.train, edition.test, *((edition.meta,) if edition.keys else edition.names.values())}


def _folder_members(edition: _Edition, folder: Path) -> dict[str, bytes]:
    contents = {}
    for name in _wanted(edition):
        if (folder / name).is_file():
            with reading(folder / name):
                contents[name] = (folder / name).read_bytes()
    return contents


def _tar_members(edition: _Edition, archive: Path) -> dict[str, bytes]:
    contents = {}
    wanted = {(edition.folder, name) for name in _wanted(edition)}
    with reading(archive), BoundedGzip(archive) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            if member.isfile() and PurePosixPath(member.name).parts[-2:] in wanted:
                stream = tar.extractfile(member)
                contents[PurePosixPath(member.name).name] = stream.read() if stream else b""
    return contents


def _images(planes: np.ndarray) -> np.ndarray:
    """[M, 3072] red, green and blue planes -> [M, 32, 32, 3]."""
    return np.ascontiguousarray(planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def _binary_batch(edition: _Edition, path: Path, content: bytes) -> Split:
    record = len(edition.classes) + 3072
    if not content or len(content) % record:
        raise damaged(path, f"{len(content)} bytes, expected a multiple of {record}")
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    labels = {label: records[:, column].copy() for column, label in enumerate(edition.classes)}
    for label, classes in edition.classes.items():
        check_labels(path, labels[label], len(records), range(classes))
    return Split(_images(records[:, len(edition.classes) :]), labels)


def _python_batch(edition: _Edition, path: Path, content: bytes) -> Split:
    batch = _unpickle(path, content)
    data = batch.get("data")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
        raise damaged(path, f"its 'data' is {_describe(data)}, expected a [M, 3072] uint8 array")
    labels = {}
    for label, classes in edition.classes.items():
        values = batch.get(edition.keys[label])
        key, lawful = edition.keys[label], f"expected a list of 0 to {classes - 1}"
        if not isinstance(values, list):
            raise damaged(path, f"its {key!r} is {_describe(values)}, {lawful}")
        for value in values:
            if type(value) is not int or not 0 <= value < classes:
                raise damaged(path, f"its {key!r} holds {show(value)}, {lawful}")
        labels[label] = np.array(values, np.uint8)
        check_labels(path, labels[label], len(data), range(classes))
    return Split(_images(data), labels)


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"a {list(value.shape)} {value.dtype} array"
    return "missing" if value is None else f"a {type(value).__name__}"


def _class_names(edition: _Edition, place: Path, contents: dict[str, bytes]) -> dict[str, list[str]]:
    """Label -> class names, for those labels whose names the files tell in full."""
    found: dict[str, Any] = {}
    if edition.keys and edition.meta in contents:
        meta = _unpickle(place / edition.meta, contents[edition.meta])
        found = {label: meta.get(key) for label, key in edition.names.items()}
    elif not edition.keys:
        text = {label: contents.get(file, b"").decode("latin1") for label, file in edition.names.items()}
        found = {
            label: [line.strip() for line in t.splitlines() if line.strip()] for label, t in text.items()
        }
    return {
        label: names
        for label, names in found.items()
        if _is_text_list(names) and len(set(names)) == len(names) == edition.classes[label]
    }


def _is_text_list(names: object) -> bool:
    return isinstance(names, Sequence) and all(isinstance(name, str) for name in names)


# --------------------------------------------------------------------------------- restricted pickle


def _empty_array(*_: object) -> np.ndarray:
    return np.empty(0, np.uint8)


def _uint8(code: object, *_: object) -> np.dtype:
    # Python 2's pickles give align and copy as integers, which NumPy 2.4 warns about.
    if code not in ("u1", "|u1", "uint8"):
        raise pickle.UnpicklingError(f"an array of {code!r}")
    return np.dtype(np.uint8)


def _latin1(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError(f"text in {encoding!r}")
    return text.encode("latin1")


def _no_call(*_: object) -> None:
    raise pickle.UnpicklingError("a call of numpy.ndarray")


_PICKLED = {
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy", "ndarray"): _no_call,  # an argument of _reconstruct, which does not look at it
    ("numpy", "dtype"): _uint8,
    ("_codecs", "encode"): _latin1,  # how Python 3 writes bytes into Python 2's protocol
}


class _ArrayUnpickler(pickle._Unpickler):
    """Python's plain containers, numbers and text, and uint8 arrays; every other name is refused.

    Of pickle's two readers the one in Python: the other makes as much room as a broken file announces.
    """

    dispatch: ClassVar = {
        code: read for code, read in pickle._Unpickler.dispatch.items() if code < pickle.BYTEARRAY8[0]
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PICKLED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _PICKLED[module, name]


def _unpickle(path: Path, content: bytes) -> dict[str, Any]:
    try:
        batch = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except KeyError:
        raise damaged(path, "not a pickle of plain arrays (an unknown code)") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise damaged(path, f"not a pickle of plain arrays ({in_one_line(error)})") from error
    if not isinstance(batch, dict):
        raise damaged(path, f"it pickles a {type(batch).__name__}, expected a dict")
    return batch
