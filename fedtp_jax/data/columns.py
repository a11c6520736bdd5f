"""Labels and groups of the user's own arrays: what they must be, with one message for what does not fit."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.array_checks import plain_array, refuse_masked

EXACT = 2**53  # whole numbers below are exact in float64


def checked_labels(field: str, value: ArrayLike) -> np.ndarray:
    """[M] whole numbers, int64, or texts; booleans become the texts "False" and "True"."""
    y = plain_array(field, value, objects=True)
    if not _as_given(value, y):  # NumPy makes texts of all that stands beside one
        y = np.fromiter(value, object)  # type: ignore[arg-type]
    y = _one_kind(field, y)
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8", "backslashreplace")
    if y.dtype.kind == "b" and y.ndim == 1:
        y = y.astype(str)
    if y.ndim != 1 or y.dtype.kind not in "iuU":
        raise UserError(
            f"{field}: shape {y.shape} {y.dtype}; expected [M] labels, integers, texts or booleans"
            + _label_hint(field, y)
        )
    if y.dtype.kind == "u" and y.max() >= 2**63:
        raise UserError(f"{field}: a label is {y.max()}; expected numbers below 2**63")
    return y if y.dtype.kind == "U" else y.astype(np.int64)


def _one_kind(field: str, y: np.ndarray) -> np.ndarray:
    """An array of Python's texts, booleans or whole numbers as one of NumPy's."""
    if y.dtype != object or y.ndim != 1:
        return y
    entries = y.tolist()
    missing = [entry is None or entry != entry or str(entry) == "<NA>" for entry in entries]
    if any(missing):
        are_missing = f"{count_of(sum(missing), 'label is', 'labels are')} missing"
        raise UserError(
            f"{field}: {are_missing}, first at index {missing.index(True)}; leave these examples out"
        )
    for kind in (str, bool):
        if all(isinstance(entry, kind) for entry in entries):
            made = y.astype(kind)
            if made.tolist() != entries:
                raise UserError(f"{field}: a label ends with a NUL character, which NumPy cuts; remove it")
            return made
    return _whole_objects(y)


def _whole_objects(y: np.ndarray) -> np.ndarray:
    """An array of Python's whole numbers as one of NumPy's."""
    if y.dtype == object and all(_is_whole(entry) for entry in y.ravel().tolist()):
        return y.astype(np.int64)
    return y


def _is_whole(entry: object) -> bool:
    return isinstance(entry, np.integer) or (type(entry) is int and abs(entry) < 2**63)


def _label_hint(field: str, y: np.ndarray) -> str:
    """What makes labels of these, where that is certain."""
    if y.dtype == object and y.ndim == 1:
        kinds = sorted({type(entry).__name__ for entry in y.tolist()})
        return f" (these are of types {', '.join(kinds)}); bring them to one"
    if y.dtype.kind not in "iufb":
        return ""
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        return "; some are NaN or infinite"
    whole = y.dtype.kind in "iub" or bool((np.abs(y) < EXACT).all() and (y % 1 == 0).all())
    integers = "" if y.dtype.kind in "iu" else ".astype(int)"
    if y.ndim == 2 and y.shape[1] == 1 and whole:
        return f"; give {field}[:, 0]{integers}"
    if y.ndim == 2 and y.shape[1] > 1 and whole and np.isin(y, (0, 1)).all():
        if (y.sum(axis=1) == 1).all():
            return f"; these are one-hot: give {field}.argmax(axis=1)"
        return "; where an example may have several of these labels say task='multilabel'"
    if y.ndim == 1 and whole:
        return f"; give {field}.astype(int)"
    return "; where they are numbers to predict say task='regression'"


def checked_column(field: str, value: ArrayLike | None, length: int) -> np.ndarray | None:
    """[M] names of groups as text or integers; None for None."""
    if value is None:
        return None
    refuse_masked(field, value)
    try:
        column = np.asarray(value)
    except ValueError:
        raise UserError(f"{field}: a ragged list; give one integer or string for each example") from None
    if column.dtype == object and column.ndim == 1 and all(isinstance(entry, str) for entry in column):
        column = column.astype(str)  # a text column of pandas
    column = _whole_objects(column)
    if column.ndim != 1 or column.dtype.kind not in "iuUS" or not _as_given(value, column):
        raise UserError(
            f"{field}: shape {column.shape} {column.dtype}; expected one integer or string for each example, "
            "none missing, all of one kind"
        )
    if len(column) != length:
        raise UserError(f"{field}: {len(column)} entries for {length} examples; give one for each")
    if column.dtype.kind == "S":
        return np.char.decode(column, "utf-8", "backslashreplace")
    # NumPy joins uint64 and int64 to floats, which would blur large numbers.
    return column.astype(np.int64) if column.dtype.kind == "u" and column.max() < 2**63 else column


def _as_given(value: Any, column: np.ndarray) -> bool:
    """Whether NumPy made texts of texts alone: it writes NaN as "nan", 1.5 as "1.5", and cuts a final NUL."""
    if column.dtype.kind != "U" or isinstance(value, np.ndarray):
        return True
    return all(
        isinstance(entry, str) and entry == text for entry, text in zip(value, column.tolist(), strict=True)
    )


def numbered(*columns: np.ndarray) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Each value's number (int32) among the sorted distinct values of all columns, and these as text."""
    names, numbers = np.unique(np.concatenate(columns), return_inverse=True)
    ends = np.cumsum([len(column) for column in columns])
    return np.split(numbers.astype(np.int32), ends[:-1]), tuple(names.astype(str).tolist())


def check_same_length(x_field: str, x: np.ndarray, y_field: str, y: np.ndarray) -> None:
    """Raise UserError unless there is a label for each example."""
    if len(x) != len(y):
        raise UserError(
            f"{y_field}: {len(y)} labels for {len(x)} examples in {x_field}; give one label for each"
        )
