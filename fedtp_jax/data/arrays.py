"""The user's own arrays as a Dataset: `from_arrays`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fedtp_jax.config.convert import show
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.dataset import Dataset, Examples

MOST_CLASSES = 1_000_000


def from_arrays(
    x: ArrayLike,
    y: ArrayLike,
    x_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    *,
    groups: ArrayLike | None = None,
    groups_test: ArrayLike | None = None,
    test_fraction: float = 0.2,
    num_classes: int | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    name: str = "arrays",
    seed: int = 0,
) -> Dataset:
    """Make a data set of your own arrays, to be given as simulate(config, data=from_arrays(...)).

    Args:
        x: [M, H, W, C] images, channels last; [M, H, W] gets one channel; [M, F] and other shapes stay as
            they are. uint8 means pixels 0 to 255, which enter the model as (x / 255 - mean) / std. float16,
            float32 and float64 are held as float32 and enter it as (x - mean) / std. Other dtypes are
            refused, for it would be a guess whether they are pixels.
        y: [M] integer labels, 0 to num_classes - 1.
        x_test: [M', ...] test examples of x's dtype and shape. Without them, test_fraction of the
            examples is held out of x.
        y_test: [M'] their labels; exactly when x_test is given.
        groups: [M] who each example belongs to (writer, role, hospital, device): integers or strings. With
            partition `natural` every group is a client. The sorted distinct values of groups and groups_test
            become groups 0 to N - 1 (integers 0 to N - 1 stay what they are) and are kept as group_names.
        groups_test: [M'] the same for x_test; exactly when x_test and groups are given.
        test_fraction: share of each group's examples (without groups: of each label's) that is held out
            when there is no x_test, rounded to whole examples; at least one of each stays for training. Both
            parts keep the order of x.
        num_classes: number of classes; default: the largest label + 1.
        mean, std: one number, or one for each entry of the last axis. Default for uint8: those of the
            train examples / 255, for each entry of the last axis (std 1 where it is constant); for floats: 0
            and 1.
        name: what to call the data set in output and errors.
        seed: seeds the choice of the held-out examples, and nothing else.

    Returns:
        Dataset with x in uint8 or float32, y in int32 and, if given, groups in int32.

    Raises:
        UserError: shapes, lengths, dtypes or labels do not fit, an array is empty, or x holds NaN or
            infinity; the message names the argument.
    """
    x, y = _inputs("x", x), _labels("y", y)
    _same_length("x", x, "y", y)
    group = _column("groups", groups, len(x))
    if (x_test is None) != (y_test is None):
        missing, given = ("y_test", "x_test") if y_test is None else ("x_test", "y_test")
        raise UserError(f"{missing}: missing although {given} is given; give both or neither")
    if x_test is None or y_test is None:
        if groups_test is not None:
            raise UserError(
                "groups_test: given without x_test; leave it out, the held-out examples follow groups"
            )
        (group,), group_names = ((None,), ()) if group is None else _numbered(group)
        held_out = _held_out(y if group is None else group, test_fraction, seed)
        train, test = (
            Examples(x[rows], y[rows], None if group is None else group[rows])
            for rows in (~held_out, held_out)
        )
    else:
        train, test, group_names = _given_test(Examples(x, y, group), x_test, y_test, groups_test)
    classes = _num_classes(y, test.y, num_classes)
    default_mean, default_std = _pixel_statistics(train.x) if x.dtype == np.uint8 else ((0.0,), (1.0,))
    return Dataset(
        name,
        train,
        test,
        classes,
        default_mean if mean is None else _per_channel("mean", mean, x.shape[-1]),
        default_std if std is None else _per_channel("std", std, x.shape[-1]),
        source="arrays",
        group_names=group_names,
    )


def _given_test(
    train: Examples, x_test: ArrayLike, y_test: ArrayLike, groups_test: ArrayLike | None
) -> tuple[Examples, Examples, tuple[str, ...]]:
    """Train and test with matching inputs and groups numbered over both, and the groups' names."""
    x, y = _inputs("x_test", x_test), _labels("y_test", y_test)
    _same_length("x_test", x, "y_test", y)
    if x.shape[1:] != train.x.shape[1:] or x.dtype != train.x.dtype:
        raise UserError(
            f"x_test: examples of shape {x.shape[1:]} {x.dtype}, but those of x are {train.x.shape[1:]} "
            f"{train.x.dtype}; bring both to one shape and dtype"
        )
    group = _column("groups_test", groups_test, len(x))
    if (train.group is None) != (group is None):
        missing, given = ("groups_test", "groups") if group is None else ("groups", "groups_test")
        raise UserError(f"{missing}: missing although {given} and x_test are given; give both or neither")
    if train.group is None or group is None:
        return train, Examples(x, y), ()
    if train.group.dtype.kind != group.dtype.kind:
        raise UserError(
            f"groups_test: holds {group.dtype}, but groups holds {train.group.dtype}; use the same names in "
            "both"
        )
    (first, second), names = _numbered(train.group, group)
    return Examples(train.x, train.y, first), Examples(x, y, second), names


def _array(field: str, value: ArrayLike) -> np.ndarray:
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


def _inputs(field: str, value: ArrayLike) -> np.ndarray:
    """[M, ...] uint8 or finite float32."""
    x = _array(field, value)
    if x.ndim < 2:
        raise UserError(f"{field}: shape {x.shape}; expected [M, H, W, C], [M, H, W] or [M, F]")
    if x.dtype != np.uint8:
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
    return x[..., None] if x.ndim == 3 else x


def _labels(field: str, value: ArrayLike) -> np.ndarray:
    """[M] int32, none negative."""
    y = _array(field, value)
    if y.ndim != 1 or y.dtype.kind not in "iu":
        hint = "; take argmax(axis=1) of one-hot labels" if y.ndim == 2 else ""
        raise UserError(f"{field}: shape {y.shape} {y.dtype}; expected [M] integer labels{hint}")
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= MOST_CLASSES:
        raise UserError(
            f"{field}: labels run from {low} to {high}; expected 0 to num_classes - 1, with at most "
            f"{MOST_CLASSES} classes"
        )
    return y.astype(np.int32)


def _column(field: str, value: ArrayLike | None, length: int) -> np.ndarray | None:
    """[M] names of groups as text or integers; None for None."""
    if value is None:
        return None
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


def _numbered(*columns: np.ndarray) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Each value's number (int32) among the sorted distinct values of all columns, and these as text."""
    names, numbers = np.unique(np.concatenate(columns), return_inverse=True)
    ends = np.cumsum([len(column) for column in columns])
    return np.split(numbers.astype(np.int32), ends[:-1]), tuple(names.astype(str).tolist())


def _same_length(x_field: str, x: np.ndarray, y_field: str, y: np.ndarray) -> None:
    if len(x) != len(y):
        raise UserError(
            f"{y_field}: {len(y)} labels for {len(x)} examples in {x_field}; give one label for each"
        )


def _num_classes(y: np.ndarray, y_test: np.ndarray, num_classes: int | None) -> int:
    highest = int(max(y.max(), y_test.max()))
    if num_classes is None:
        return highest + 1
    whole = int(num_classes) if isinstance(num_classes, int | np.integer) else 0
    if isinstance(num_classes, bool) or not 1 <= whole <= MOST_CLASSES:
        raise UserError(f"num_classes: {num_classes!r}; expected a whole number from 1 to {MOST_CLASSES}")
    if highest >= num_classes:
        raise UserError(
            f"num_classes: {num_classes}, but a label is {highest}; labels run from 0 to num_classes - 1"
        )
    return int(num_classes)


def _held_out(group: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """[M] bool: round(fraction * size) random examples of every group, of one-example groups none."""
    if not isinstance(fraction, float | np.floating) or not 0 < fraction < 1:
        raise UserError(f"test_fraction: {fraction!r}; expected a share between 0 and 1 (or give x_test)")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise UserError(f"seed: {seed!r}; expected a whole number of at least 0")
    order = np.lexsort((np.random.default_rng(seed).random(len(group)), group))
    _, start, size = np.unique(group[order], return_index=True, return_counts=True)
    rank = np.arange(len(group)) - np.repeat(start, size)
    taken = np.minimum(np.rint(fraction * size), size - 1)
    held_out = np.zeros(len(group), bool)
    held_out[order] = rank < np.repeat(taken, size)
    if not held_out.any():
        raise UserError(
            f"test_fraction: {fraction} of {len(group)} examples in {len(size)} groups holds out none; "
            "raise it or give x_test and y_test"
        )
    return held_out


def _per_channel(field: str, value: float | Sequence[float], channels: int) -> tuple[float, ...]:
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


def _pixel_statistics(x: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of x / 255 for each entry of the last axis, exact from counts of the 256 values."""
    values = np.arange(256) / 255
    means, stds = [], []
    for channel in range(x.shape[-1]):
        share = np.bincount(x[..., channel].ravel(), minlength=256) / (x.size // x.shape[-1])
        means.append(float(share @ values))
        stds.append(float(np.sqrt(share @ (values - means[-1]) ** 2)))
    # Rounding leaves a constant channel at 1e-17 instead of 0.
    return tuple(means), tuple(std if std > 1e-9 else 1.0 for std in stds)
