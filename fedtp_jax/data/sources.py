"""Where each named data set comes from. Nothing here reaches for the network; `prepare` does if asked to."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from fedtp_jax import config as cfg
from fedtp_jax.config.convert import show
from fedtp_jax.config.load import replaced
from fedtp_jax.core.errors import UserError, user_path
from fedtp_jax.data.archives import Originals, find_idx, read_idx
from fedtp_jax.data.array_checks import pixel_statistics
from fedtp_jax.data.cifar import find_cifar, read_cifar
from fedtp_jax.data.dataset import Dataset, Examples
from fedtp_jax.data.hugging_face import read_hugging_face
from fedtp_jax.data.image_folder import read_image_folder
from fedtp_jax.data.image_sets import IMAGE_SETS, ImageSet
from fedtp_jax.data.leaf import read_leaf
from fedtp_jax.data.npz import read_npz
from fedtp_jax.data.plays import from_files, from_package
from fedtp_jax.data.table import read_table
from fedtp_jax.data.targets import check_task
from fedtp_jax.data.text import from_roles
from fedtp_jax.data.tfds import default_root, has_other_format, is_prepared, read


def load(config: Any, task: str = "classification") -> Dataset:
    """The data set that `config`, one of config.DATASETS or a part of the user's own, describes.

    `task`: what labels are to be, as task.kind, of files that may hold any.

    x is [M, H, W, C] uint8 (own arrays may have other shapes, and float32), y is [M] int32. Images of
    published sets come in the order of their original files, whatever they are read from.

    Raises:
        UserError: the data is missing (at once, with the places looked in and the ways to get it) or damaged.
    """
    if isinstance(config, cfg.Own):
        return _own(config)
    if type(config) not in {**_LOADERS, **_OF_ANY_TASK}:
        raise TypeError(f"{type(config).__name__} is no data set's configuration")
    if type(config) in _OF_ANY_TASK:
        return _OF_ANY_TASK[type(config)](config, task)
    return _LOADERS[type(config)](config)


def _own(part: cfg.Own) -> Dataset:
    """What the user's function gives."""
    data = part.call("data")
    if not isinstance(data, Dataset):
        raise UserError(
            f"data: {part.of} returned a {type(data).__name__}, expected a Dataset; return what "
            "fedtp_jax.from_arrays(x, y) does"
        )
    return data


def load_data(data: Any, task: str = "classification") -> Dataset:
    """A data set as `simulate(data=...)` names it: "digits", a dict of fields, a section of `config`.

    `task`: what the labels in files of your own are, as the setting task.kind.

    Its `train` and `test` have x [M, ...] as the files hold it and y [M]; text has codes of characters
    instead (`text`, `start`, `length`).

    Raises:
        UserError: there is no such data set or task, or it is missing or damaged.
    """
    if isinstance(data, Dataset):
        raise UserError(f"data: got {show(data)}, which is one already; give a name such as 'digits'")
    check_task(task)
    made = load(replaced(None, {"data": data}).data, task)
    if made.task != task:
        raise UserError(f"task: {task}, but the labels of {made.name} are those of {made.task}; leave it out")
    return made


def find_originals(name: str, directory: Path | None) -> Originals | None:
    """The original files of `name` in `directory` (None: where packages put them), read, or None.

    Raises:
        UserError: the files are incomplete or damaged, or `directory` does not exist.
    """
    if directory is not None and not directory.exists():
        raise UserError(
            f"data.directory: {directory} does not exist; name a folder with {IMAGE_SETS[name].files}"
        )
    for place in _places(name, directory):
        try:
            found = _originals_at(name, place)
        except OSError as error:
            raise UserError(
                f"data.directory: {place} cannot be read ({error}); change its permissions or name "
                "another folder"
            ) from error
        if found is not None:
            return found
    if directory is not None and directory.is_file():
        raise UserError(f"data.directory: {directory} is a file; name a folder with {IMAGE_SETS[name].files}")
    return None


def _originals_at(name: str, place: Path) -> Originals | None:
    if name.startswith("cifar"):
        batches = find_cifar(name, place)
        return read_cifar(batches) if batches is not None else None
    files = find_idx(name, place) or find_idx(name, place / "gzip")  # as EMNIST's archive is unpacked
    return read_idx(files, IMAGE_SETS[name].labels) if files is not None else None


def missing(name: str, directory: Path | None, root: Path) -> UserError:
    """The error that says where `name` was looked for (`root`: TFDS's folder) and how to get it."""
    about = IMAGE_SETS[name]
    looked = [str(place) for place in _places(name, directory)] + [str(root / name)]
    ways = [f"`apt-get install {about.package}` (Debian, Ubuntu)"] if about.package else []
    ways.append(f"set data.directory to a folder with {about.files} from {about.page}")
    ways.append(f"`fedtp prepare {name} --download`")
    unusable = ""
    if has_other_format(name, root):
        unusable = f" ({root / name} is in a TFDS format that needs TensorFlow; only array_record is read)"
    return UserError(
        f"data.directory: no {about.title} found. Looked in {', '.join(looked)}{unusable}. To get it: "
        + "; or ".join(ways)
    )


def _places(name: str, directory: Path | None) -> list[Path]:
    # A folder the user names is never silently replaced by another one.
    return [directory] if directory is not None else [Path(folder) for folder in IMAGE_SETS[name].folders]


def _images(config: cfg.Mnist | cfg.Cifar10 | cfg.Emnist) -> Dataset:
    """One of IMAGE_SETS from its original files, else from a prepared TFDS folder."""
    name = f"emnist/{config.split}" if isinstance(config, cfg.Emnist) else cfg.name_of(config)
    about = IMAGE_SETS[name]
    directory = user_path(config.directory) if config.directory is not None else None
    originals = find_originals(name, directory)
    if originals is not None:
        train, test = (
            Examples(split.x, split.labels["label"].astype(np.int32))
            for split in (originals.train, originals.test)
        )
        source = originals.where
    else:
        root = directory or default_root()
        if not is_prepared(name, root):
            raise missing(name, directory, root)
        train, test = read(name, root, about.labels)
        source = root / name
    train, test = (_as_others(about, part) for part in (train, test))
    scale = (about.mean, about.std) if about.mean else pixel_statistics(train.x)
    return Dataset(name, train, test, about.num_classes, *scale, str(source), class_names=about.class_names)


def _as_others(about: ImageSet, part: Examples) -> Examples:
    """Row after row, with labels from 0 on."""
    x = np.ascontiguousarray(part.x.swapaxes(1, 2)) if about.transposed else part.x
    return Examples(x, part.y - np.int32(about.first_label))


def _digits(config: cfg.Digits) -> Dataset:
    """scikit-learn's 8x8 digits with values 0..16 stretched to 0..255; every fifth is a test example."""
    table = _digits_table()
    x = np.round(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    y = table[:, -1].astype(np.int32)
    is_test = np.arange(len(y)) % 5 == 4
    train, test = (Examples(x[rows], y[rows]) for rows in (~is_test, is_test))
    # Mean and std were computed from the train examples / 255.
    return Dataset("digits", train, test, 10, (0.3059,), (0.3763,), "scikit-learn")


def _digits_table() -> np.ndarray:
    """[M, 65] 64 pixels and the digit: scikit-learn's file, without the second that importing it takes."""
    package = find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.exists():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits  # a version that keeps it elsewhere

    digits = load_digits()
    return np.column_stack([digits.data, digits.target])


def _shakespeare(config: cfg.Shakespeare) -> Dataset:
    """Every speaking role is a client; the last fifth of its lines is its test text."""
    if config.directory is None:
        roles, source = from_package()
    else:
        place = user_path(config.directory)
        roles, source = from_files(place), str(place)
    return from_roles(config, roles, source)


def _arrays(config: cfg.Arrays) -> Dataset:
    raise UserError(
        "data: 'arrays' has no arrays to load; pass data=fedtp_jax.from_arrays(x, y) to simulate from "
        "Python, or choose data 'npz' with data.file"
    )


_LOADERS: dict[type, Callable[[Any], Dataset]] = {
    cfg.Digits: _digits,
    cfg.Mnist: _images,
    cfg.FashionMnist: _images,
    cfg.Emnist: _images,
    cfg.Cifar10: _images,
    cfg.Cifar100: _images,
    cfg.Shakespeare: _shakespeare,
    cfg.ImageFolder: read_image_folder,
    cfg.Leaf: read_leaf,
    cfg.Arrays: _arrays,
}
_OF_ANY_TASK: dict[type, Callable[[Any, str], Dataset]] = {
    cfg.Npz: read_npz,
    cfg.Table: read_table,
    cfg.HuggingFace: read_hugging_face,
}
