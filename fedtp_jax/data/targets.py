"""What the user's own examples are to be given: a class, numbers, or which of several labels hold."""

import dataclasses
import warnings

import numpy as np
from numpy.typing import ArrayLike

from fedtp_jax.config.convert import show
from fedtp_jax.config.plain import plain_values
from fedtp_jax.config.task import TASKS
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.array_checks import plain_array
from fedtp_jax.data.columns import checked_labels
from fedtp_jax.data.dataset import Examples
from fedtp_jax.data.scaling import statistics

MOST_CLASSES = 1_000_000
SMALLEST, LARGEST = 1e-30, 1e30  # of numbers whose size, and that of their errors, float32 can hold
EXACT = 2**53  # whole numbers up to it are exact in float64


def check_task(task: object) -> None:
    """Raise UserError for a task that there is not."""
    if task not in TASKS:
        raise UserError(f"task: got {show(task)}, expected one of {', '.join(TASKS)}")


def checked_targets(field: str, value: ArrayLike, task: str) -> np.ndarray:
    """[M] labels, [M, C] float64 numbers, or [M, C] uint8 of which labels hold; UserError for others."""
    if task == "classification":
        return checked_labels(field, value)
    y = _unpacked(plain_array(field, value, objects=True))
    return _numbers(field, y) if task == "regression" else _several(field, y)


def _unpacked(y: np.ndarray) -> np.ndarray:
    """Python's numbers as NumPy's, None and pandas' missing values as NaN; anything else as it is."""
    if y.dtype != object:
        return y
    entries = [np.nan if one is None or str(one) == "<NA>" else one for one in y.ravel().tolist()]
    if all(isinstance(one, int | float | np.integer | np.floating | np.bool_) for one in entries):
        return np.array(entries, np.float64).reshape(y.shape)
    return y


def _what(y: np.ndarray) -> str:
    """What it holds, in words."""
    if y.dtype.kind not in "OUS":
        return f"shape {y.shape} {y.dtype}"
    strange = [one for one in y.ravel().tolist() if not isinstance(one, int | float)]
    return f"holds {show(strange[0])}, a {type(strange[0]).__name__}"


def _numbers(field: str, y: np.ndarray) -> np.ndarray:
    if y.dtype.kind not in "iuf" or y.ndim > 2:
        raise UserError(
            f"{field}: {_what(y)}; expected a number for each example, [M], or several, [M, C] (task is "
            "regression)"
        )
    if y.dtype.kind in "iu" and max(int(y.max()), -int(y.min())) > EXACT:
        raise UserError(
            f"{field}: whole numbers above 2**53 are not exact in float64, in which they are held; subtract "
            "an offset first"
        )
    y = y.astype(np.float64).reshape(len(y), -1)
    bad = ~(np.abs(y) < LARGEST).all(axis=1)
    if bad.any():
        have = count_of(int(bad.sum()), f"of {len(y)} examples has", f"of {len(y)} examples have")
        raise UserError(
            f"{field}: {have} NaN, infinity or more than {LARGEST:.0e}, first "
            f"at index {bad.argmax()}; leave these out"
        )
    return y


def _several(field: str, y: np.ndarray) -> np.ndarray:
    expected = "expected [M, C], 1 where an example has a label, else 0 (task is multilabel)"
    if y.ndim != 2 or y.dtype.kind not in "biuf":
        raise UserError(f"{field}: {_what(y)}; {expected}")
    wrong = ~np.isin(y, (0, 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise UserError(f"{field}: holds {y[row, column]:g} in row {row}, column {column}; {expected}")
    return y.astype(np.uint8)


def target_scale(train: Examples) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of the train examples' numbers; std 1, and a warning, where all are equal."""
    equal = np.ptp(train.y, axis=0) == 0
    if equal.any():
        place = int(equal.argmax())
        which = f" at {place}" if train.y.shape[1] > 1 else ""
        warnings.warn(f"y: every number{which} is {train.y[0, place]:g}: nothing to learn", stacklevel=4)
    mean, std = statistics(train.y)
    if min(std) < SMALLEST:
        raise UserError(
            f"y: the numbers' standard deviation is {min(std):g}, and float32 holds no such errors; give "
            "them in another unit"
        )
    return mean, std


def numbered_classes(
    train: Examples, test: Examples, num_classes: int | None
) -> tuple[tuple[Examples, Examples], int, tuple[str, ...]]:
    """Train and test with int32 labels 0 to C - 1, C, and the classes' names where these are others."""
    found = np.union1d(train.y, test.y)
    low, high = found[0], found[-1]
    if len(found) == 1:
        warnings.warn(f"y: every label is {low}, so there is nothing to tell apart", stacklevel=4)
    if num_classes is not None:
        if found.dtype.kind == "U":
            raise UserError("num_classes: given, but the labels are texts; leave it out, or number them")
        given = plain_values(num_classes)
        whole = given if type(given) is int else 0
        if not 1 <= whole <= MOST_CLASSES:
            raise UserError(f"num_classes: {num_classes!r}; expected a whole number from 1 to {MOST_CLASSES}")
        if low < 0 or high >= whole:
            raise UserError(
                f"num_classes: {num_classes}, but labels run from {low} to {high}; give labels 0 to "
                "num_classes - 1, or leave num_classes out: then the labels that occur are the classes"
            )
        names, classes = np.arange(whole), whole
    else:
        if len(found) > MOST_CLASSES:
            raise UserError(f"y: {len(found)} different labels; at most {MOST_CLASSES} can be classes")
        names, classes = found, len(found)
    numbers = [np.searchsorted(names, part.y).astype(np.int32) for part in (train, test)]
    parts = [dataclasses.replace(part, y=y) for part, y in zip((train, test), numbers, strict=True)]
    same = names.dtype.kind != "U" and names[0] == 0 and names[-1] == classes - 1
    return (parts[0], parts[1]), classes, () if same else tuple(map(str, names.tolist()))
