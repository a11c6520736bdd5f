"""What the user's own arrays must be, with one message for each that does not fit."""

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from fedtp_jax.config.convert import show
from fedtp_jax.core.errors import UserError

Kind = Literal["image", "series", "features"]


def _refuse_masked(field: str, value: object) -> None:
    """NumPy would drop the mask, and what it hides would be learnt from."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise UserError(
            f"{field}: {np.ma.count_masked(value)} of its values are masked; fill them with "
            f"{field}.filled(...), or leave these examples out"
        )


def _array(field: str, value: ArrayLike) -> np.ndarray:
    _refuse_masked(field, value)
    try:
        array = np.asarray(value)
    except ValueError:
        raise UserError(f"{field}: a ragged list; give every example the same shape") from None
    if array.dtype == object:
        raise UserError(
            f"{field}: holds Python objects (dtype object); give an array of numbers of one shape"
        )
    if array.ndim == 0:
        raise UserError(f"{field}: got {show(value)}; expected an array with an entry for each example")
    if array.size == 0:
        raise UserError(f"{field}: an empty array of shape {array.shape}; give at least one example")
    return array


def checked_inputs(field: str, value: ArrayLike, kind: Kind | None) -> np.ndarray:
    """[M, ...] uint8 or finite float32, in the shape in which `kind` is held."""
    x = _array(field, value)
    if x.ndim < 2:
        raise UserError(f"{field}: shape {x.shape}; expected [M, H, W, C], [M, H, W] or [M, F]")
    if x.dtype != np.uint8:
        x = _finite(field, x)
    return _shaped(field, x, kind)


def _finite(field: str, x: np.ndarray) -> np.ndarray:
    """Floats as float32; UserError for other numbers, and for what is not finite."""
    if x.dtype not in (np.float16, np.float32, np.float64):
        raise UserError(
            f"{field}: dtype {x.dtype}; give pixels 0 to 255 as {field}.astype('uint8') or other numbers "
            f"as {field}.astype('float32')"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is reported below
        x = x.astype(np.float32)
    bad = ~np.isfinite(x.reshape(len(x), -1)).all(axis=1)
    if bad.any():
        raise UserError(
            f"{field}: {bad.sum()} of {len(x)} examples hold NaN or infinity, first at index "
            f"{bad.argmax()}; remove or replace them"
        )
    return x


def _shaped(field: str, x: np.ndarray, kind: Kind | None) -> np.ndarray:
    """Grey images get their channel; what is taken for granted without `kind` is said."""
    axes = {"image": (3, 4), "series": (3,), "features": (2,)}
    if kind is not None and kind not in axes:
        raise UserError(f"kind: got {show(kind)}; choose image, series or features")
    if kind is not None and x.ndim not in axes[kind]:
        expected = {"image": "[M, H, W] or [M, H, W, C]", "series": "[M, T, C]", "features": "[M, F]"}[kind]
        raise UserError(f"{field}: shape {x.shape}; expected {expected} of kind {kind!r}")
    if x.ndim != 3 or kind == "series":
        return x
    if kind is None:
        _, height, width = x.shape
        warnings.warn(
            f"{field}: {list(x.shape)} is taken for grey images of {height} x {width} pixels; say so by "
            "kind='image' or a last axis of 1 channel, or "
            f"kind='series' for {height} steps of {width} channels",
            stacklevel=4,
        )
    return x[..., None]


def warn_of_pixels(x: np.ndarray) -> None:
    """Say it when float inputs that nobody normalises look like pixels 0 to 255."""
    if x.dtype == np.uint8 or x.ndim != 4:
        return
    low, high = float(x.min()), float(x.max())
    if low >= 0 and 2 < high <= 255 and (x[: 2**10] % 1 == 0).all():
        warnings.warn(
            f"x: whole numbers from {low:.0f} to {high:.0f} look like pixels, and as floats they enter the "
            "model as they are; give x.astype('uint8'), or mean and std",
            stacklevel=3,
        )


def checked_labels(field: str, value: ArrayLike) -> np.ndarray:
    """[M] whole numbers, int64."""
    y = _array(field, value)
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise UserError(
            f"{field}: shape {y.shape} {y.dtype}; expected [M] integer labels{_label_hint(field, y)}"
        )
    if y.dtype.kind == "u" and y.max() >= 2**63:
        raise UserError(f"{field}: a label is {y.max()}; expected numbers below 2**63")
    return y.astype(np.int64)


def _label_hint(field: str, y: np.ndarray) -> str:
    """What makes labels of these, where that is certain."""
    if y.dtype.kind not in "iufb":
        return ""
    whole = y.dtype.kind in "iub" or bool((y % 1 == 0).all())
    integers = "" if y.dtype.kind in "iu" else ".astype(int)"
    if y.ndim == 2 and y.shape[1] == 1 and whole:
        return f"; give {field}[:, 0]{integers}"
    if y.ndim == 2 and y.shape[1] > 1 and whole and np.isin(y, (0, 1)).all():
        if (y.sum(axis=1) == 1).all():
            return f"; these are one-hot: give {field}.argmax(axis=1)"
        return (
            "; rows with several ones, or none, are several labels for an example, which no method here takes"
        )
    if y.ndim == 1 and whole:
        return f"; give {field}.astype(int)"
    return ""


def checked_column(field: str, value: ArrayLike | None, length: int) -> np.ndarray | None:
    """[M] names of groups as text or integers; None for None."""
    if value is None:
        return None
    _refuse_masked(field, value)
    try:
        column = np.asarray(value)
    except ValueError:
        raise UserError(f"{field}: a ragged list; give one integer or string for each example") from None
    if column.dtype == object and column.ndim == 1 and all(isinstance(entry, str) for entry in column):
        column = column.astype(str)  # a text column of pandas
    if column.dtype == object and all(type(entry) is int and abs(entry) < 2**63 for entry in column.tolist()):
        column = column.astype(np.int64)
    if column.ndim != 1 or column.dtype.kind not in "iuUS":
        raise UserError(
            f"{field}: shape {column.shape} {column.dtype}; expected one integer or string for each example, "
            "none missing"
        )
    if len(column) != length:
        raise UserError(f"{field}: {len(column)} entries for {length} examples; give one for each")
    if column.dtype.kind == "S":
        return np.char.decode(column, "utf-8", "backslashreplace")
    # NumPy joins uint64 and int64 to floats, which would blur large numbers.
    return column.astype(np.int64) if column.dtype.kind == "u" and column.max() < 2**63 else column


def numbered(*columns: np.ndarray) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Each value's number (int32) among the sorted distinct values of all columns, and these as text."""
    names, numbers = np.unique(np.concatenate(columns), return_inverse=True)
    ends = np.cumsum([len(column) for column in columns])
    return np.split(numbers.astype(np.int32), ends[:-1]), tuple(names.astype(str).tolist())


def check_same_length(x_field: str, x: np.ndarray, y_field: str, y: np.ndarray) -> None:
    if len(x) != len(y):
        raise UserError(
            f"{y_field}: {len(y)} labels for {len(x)} examples in {x_field}; give one label for each"
        )


def per_channel(field: str, value: float | Sequence[float], channels: int) -> tuple[float, ...]:
    try:
        numbers = np.atleast_1d(np.asarray(value, np.float64))
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.shape not in ((1,), (channels,)):
        raise UserError(
            f"{field}: {value!r}; expected one number or {channels}, one for each entry of the last axis"
        )
    if not np.isfinite(numbers).all() or (field == "std" and (numbers <= 0).any()):
        raise UserError(f"{field}: {value!r}; expected finite{' positive' if field == 'std' else ''} numbers")
    return tuple(numbers.tolist())


def pixel_statistics(x: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of x / 255 for each entry of the last axis, exact from counts of the 256 values."""
    values = np.arange(256) / 255
    means, stds = [], []
    for channel in range(x.shape[-1]):
        share = np.bincount(x[..., channel].ravel(), minlength=256) / (x.size // x.shape[-1])
        means.append(float(share @ values))
        stds.append(float(np.sqrt(share @ (values - means[-1]) ** 2)))
    # Rounding leaves a constant channel at 1e-17 instead of 0.
    return tuple(means), tuple(std if std > 1e-9 else 1.0 for std in stds)
