"""Data sets of Hugging Face, read by its package `datasets`: a folder on disk, or by name from the hub."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fedtp_jax.config import HuggingFace
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError, in_one_line, nearest, user_path
from fedtp_jax.data.arrays import from_source
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.data.image_folder import grey_or_colour, stacked

if TYPE_CHECKING:
    import datasets


def read_hugging_face(config: HuggingFace, task: str = "classification") -> Dataset:
    """The examples of a train and a test split, in their order.

    Images become uint8, of one channel if all are grey; numbers become features, lists of numbers features,
    series or images by their shape, or with `kind` "tokens" texts, filled up to the longest with `padding`.
    Names of classes and clients are kept. Labels are what `task` asks for.

    Raises:
        UserError: no such folder or data set, no `datasets`, damaged files, no such split or column, a column
            of something else, inputs of several shapes, missing labels, or what `from_arrays` refuses.
    """
    where, splits = _splits(config)
    for name, split in splits.items():
        if not len(split):
            raise UserError(f"data.{name}: this split of {where} has no examples; choose another")
    columns = {"input": config.input, "label": config.label, "client": config.client}
    for field, column in columns.items():
        if column is not None:
            _check_column(f"data.{field}", column, where, splits)
    kind, inputs = _inputs(config, splits)
    options: dict[str, Any] = {"kind": kind, "standardize": config.standardize, "impute": config.impute}
    labels = {name: _labels(config, where, name, split) for name, split in splits.items()}
    groups = {name: _clients(config, split) for name, split in splits.items()}
    if "test" in splits:
        options |= {"x_test": inputs["test"], "y_test": labels["test"], "groups_test": groups["test"]}
    classes = config.label if task == "classification" else None
    names = () if classes is None else _names_of(splits["train"].features[classes])
    made = from_source(
        "data",
        where if config.hub is None else f"Hugging Face's hub: {where}",
        inputs["train"],
        labels["train"],
        groups=groups["train"],
        num_classes=len(names) or None,
        padding=config.padding,
        task=task,
        name=Path(where).name,
        **options,
    )
    if names and list(names) != [str(number) for number in range(len(names))]:
        return dataclasses.replace(made, class_names=names)
    return made


def _splits(config: HuggingFace) -> tuple[str, dict[str, "datasets.Dataset"]]:
    """Where they are from, and {"train": ..., "test": ...}, without the latter if it is to be held out."""
    where, found = _found(config)
    if not isinstance(found, dict):
        if config.test is not None:
            raise UserError(
                f"data.test: {config.test!r}, but {where} has no splits; say null, and a fifth is held out"
            )
        return where, {"train": found}
    wanted = {"train": config.train, "test": config.test}
    for field, name in wanted.items():
        if name is not None and name not in found:
            raise UserError(
                f"data.{field}: no split {name!r}{nearest(name, found)}; {where} has {', '.join(found)}"
            )
    return where, {field: found[name] for field, name in wanted.items() if name is not None}


def _found(config: HuggingFace) -> tuple[str, Any]:
    """Where it is from, and the data set or the dict of its splits."""
    if config.directory is None and config.hub is None:
        raise UserError(
            "data.directory: missing; give a folder that save_to_disk wrote, or a name as data.hub"
        )
    if config.hub is None:
        return _in_folder(str(config.directory))
    if config.directory is not None:
        raise UserError("data.hub: given beside data.directory; leave one of them out")
    package = _package()
    try:
        return config.hub, package.load_dataset(config.hub)
    except Exception as error:  # of many kinds: names, networks, formats
        raise UserError(
            f"data.hub: {config.hub!r} cannot be had ({in_one_line(error)}); check name and network, or give "
            "the folder of a copy as data.directory"
        ) from error


def _in_folder(directory: str) -> tuple[str, Any]:
    root = user_path(directory)
    if not root.is_dir():
        raise UserError(
            f"data.directory: {root} is no folder; give one that save_to_disk wrote, or, to download it, the "
            f"name of a data set of the hub: data.hub={directory}"
        )
    package = _package()
    try:
        return str(root), package.load_from_disk(str(root))
    except Exception as error:  # of many kinds, by what is damaged
        raise UserError(
            f"data.directory: {root} is nothing that save_to_disk wrote ({in_one_line(error)}); give another "
            "folder"
        ) from error


def _package() -> Any:
    try:
        import datasets
    except ImportError:
        raise UserError(
            "data: huggingface needs datasets; install it with pip install 'fedtp_jax[huggingface]'"
        ) from None
    return datasets


def _check_column(field: str, column: str, where: str, splits: dict[str, "datasets.Dataset"]) -> None:
    for name, split in splits.items():
        if column not in split.features:
            hint, known = nearest(column, split.features), ", ".join(split.features)
            raise UserError(f"{field}: no column {column!r}{hint} in data.{name}; {where} has {known}")
        if split.features[column] != splits["train"].features[column]:
            raise UserError(
                f"{field}: {column!r} is {splits['train'].features[column]} in data.train and "
                f"{split.features[column]} in data.test; cast one of them"
            )


def _values(split: "datasets.Dataset", column: str, form: str | None = None) -> Any:
    """All that a column holds: a list, or pyarrow's array of form "arrow"."""
    try:
        return split.with_format(form, columns=[column])[:][column]
    except Exception as error:  # of pyarrow and Pillow, of many kinds
        raise UserError(
            f"data: the column {column!r} cannot be read ({in_one_line(error)}); its files are damaged: "
            "write or download them again"
        ) from error


def _names_of(feature: Any) -> tuple[str, ...]:
    """Of the classes of a ClassLabel; of no other column."""
    return tuple(getattr(feature, "names", None) or ())


def _labels(config: HuggingFace, where: str, name: str, split: "datasets.Dataset") -> list[Any] | None:
    if config.label is None:
        return None
    labels = _values(split, config.label)
    if _names_of(split.features[config.label]):
        missing = [label is None or label < 0 for label in labels]
        if any(missing):
            raise UserError(
                f"data.label: data.{name} of {where} has none for "
                f"{sum(missing)} of {len(labels)} examples; "
                "leave them out, or choose other splits"
            )
    return labels


def _clients(config: HuggingFace, split: "datasets.Dataset") -> list[Any] | None:
    if config.client is None:
        return None
    clients = _values(split, config.client)
    names = _names_of(split.features[config.client])
    return [None if client is None else names[client] for client in clients] if names else clients


# -------------------------------------------------------------------------------------------- inputs


class _Lists(NamedTuple):
    """A column of numbers, or of lists of them: numbers [...], and every list's length, level by level."""

    numbers: np.ndarray
    lengths: list[np.ndarray]


def _inputs(config: HuggingFace, splits: dict[str, "datasets.Dataset"]) -> tuple[Any, dict[str, np.ndarray]]:
    """Their kind, None where `from_arrays` is to find it, and {split: [M, ...]}."""
    import datasets

    column, feature = config.input, splits["train"].features[config.input]
    if isinstance(feature, datasets.Image):
        if config.kind not in (None, "image"):
            raise UserError(f"data.kind: {config.kind!r}, but {column!r} holds images; leave it out")
        return "image", {name: _pixels(column, _values(split, column)) for name, split in splits.items()}
    number = _number(feature)
    if number is None:
        hint = "; make token ids of texts, and say data.kind=tokens" if "string" in str(feature) else ""
        raise UserError(
            f"data.input: {column!r} holds {feature}; expected images, numbers or lists of these{hint}"
        )
    lists = {name: _lists(column, split) for name, split in splits.items()}
    if config.kind == "tokens":
        return "tokens", _texts(config, lists)
    return config.kind, {name: _numbers(config, number, part) for name, part in lists.items()}


def _pixels(column: str, images: list[Any]) -> np.ndarray:
    """[M, H, W, 1 or 3] uint8."""
    if missing := sum(image is None for image in images):
        raise UserError(f"data.input: {column!r} is empty in {count_of(missing, 'example')}; leave them out")
    if other := next((image for image in images if image.size != images[0].size), None):
        sizes = " and ".join(f"{image.height}x{image.width}" for image in (images[0], other))
        raise UserError(
            f"data.input: {column!r} holds images of {sizes} pixels; bring all to one size, by map"
        )
    return stacked([np.asarray(grey_or_colour(image)) for image in images])


def _number(feature: Any) -> np.dtype | None:
    """Of what numbers a column is, or its lists are; None for anything else."""
    while hasattr(feature, "feature"):
        feature = feature.feature
    try:
        return np.dtype(feature.dtype)
    except (AttributeError, TypeError):
        return None


def _lists(column: str, split: "datasets.Dataset") -> _Lists:
    import pyarrow as pa

    array, lengths = _values(split, column, "arrow").combine_chunks(), list[np.ndarray]()
    while True:
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        if not isinstance(array, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
            return _Lists(array.to_numpy(zero_copy_only=False), lengths)
        if array.null_count:
            raise UserError(
                f"data.input: {column!r} is empty in {count_of(array.null_count, 'example')}; leave them out"
            )
        lengths.append(array.value_lengths().to_numpy(zero_copy_only=False))
        array = array.flatten()


def _texts(config: HuggingFace, lists: dict[str, _Lists]) -> dict[str, np.ndarray]:
    """[M, T] ids, T being that of the longest text of all splits."""
    if any(len(part.lengths) != 1 or part.numbers.dtype.kind not in "iu" for part in lists.values()):
        raise UserError(
            f"data.kind: tokens, but {config.input!r} does not hold one list of whole numbers, none missing, "
            "for each example; choose another column or kind"
        )
    lengths = {name: part.lengths[0] for name, part in lists.items()}
    longest = max(int(of.max()) for of in lengths.values())
    if config.padding is None and any((of < longest).any() for of in lengths.values()):
        raise UserError(
            f"data.padding: missing, but {config.input!r} holds texts of up to {longest} ids, and shorter "
            "ones; give the id that fills those up, and that no text holds"
        )
    made = {}
    for name, part in lists.items():
        made[name] = np.full((len(lengths[name]), longest), config.padding or 0, np.int64)
        made[name][np.arange(longest) < lengths[name][:, None]] = part.numbers
    return made


def _numbers(config: HuggingFace, number: np.dtype, lists: _Lists) -> np.ndarray:
    """[M, ...] uint8 pixels or floats, NaN for what is missing."""
    x, column, whole = lists.numbers, config.input, number.kind in "iu"
    if any(not len(of) or (of != of[0]).any() for of in lists.lengths):
        hint = "; if they are token ids, say data.kind=tokens" if whole else ""
        raise UserError(f"data.input: {column!r} holds lists of several lengths; give one shape to all{hint}")
    if whole and len(lists.lengths) == 1 and config.kind is None:
        raise UserError(
            f"data.kind: missing, but {column!r} holds lists of whole numbers, which have two readings; say "
            "tokens for ids, or features"
        )
    if lists.lengths:
        x = x.reshape(len(lists.lengths[0]), *(int(of[0]) for of in lists.lengths))
    kind = config.kind or ("image" if x.ndim == 4 or (number == np.uint8 and x.ndim == 3) else None)
    if whole and kind == "image":
        if x.dtype.kind not in "iu" or x.min() < 0 or x.max() > 255:
            raise UserError(
                f"data.input: {column!r} holds whole numbers, but not pixels, which are 0 to 255, none "
                "missing; cast the column to float32"
            )
        return x.astype(np.uint8)
    x = x.astype(np.float64) if number.kind != "f" else x
    return x[:, None] if x.ndim == 1 else x
