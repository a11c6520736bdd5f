"""The user's own arrays as a Dataset: `from_arrays`."""

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fedtp_jax.config.plain import plain_values
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.array_checks import (
    Kind,
    checked_inputs,
    per_channel,
    pixel_statistics,
    warn_of_channels_first,
    warn_of_pixels,
)
from fedtp_jax.data.columns import check_same_length, checked_column, checked_labels, numbered
from fedtp_jax.data.dataset import Dataset, Examples

MOST_CLASSES = 1_000_000


def from_arrays(
    x: ArrayLike,
    y: ArrayLike,
    x_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    *,
    kind: Kind | None = None,
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
        x: [M, H, W, C] images, channels last, [M, H, W] grey images, [M, T, C] series, [M, F] features.
            uint8 means pixels 0 to 255, which enter the model as (x / 255 - mean) / std. float16, float32 and
            float64 are held as float32 and enter it as (x - mean) / std. Other dtypes are refused, for it
            would be a guess whether they are pixels.
        y: [M] integer labels. The distinct ones become classes 0 to C - 1 in their order (labels 0 to C - 1
            stay what they are), and are kept as class_names.
        x_test: [M', ...] test examples of x's dtype and shape. Without them, test_fraction of the
            examples is held out of x.
        y_test: [M'] their labels; exactly when x_test is given.
        kind: "image", "series" or "features". Without it three axes are taken for grey images, and a warning
            says so.
        groups: [M] who each example belongs to (writer, role, hospital, device): integers or strings. With
            partition `natural` every group is a client. The sorted distinct values of groups and groups_test
            become groups 0 to N - 1 (integers 0 to N - 1 stay what they are) and are kept as group_names.
        groups_test: [M'] the same for x_test; exactly when x_test and groups are given.
        test_fraction: share of each group's examples (without groups: of each label's) that is held out
            when there is no x_test, rounded to whole examples; at least one of each stays for training. Both
            parts keep the order of x.
        num_classes: number of classes, where not all of them occur; labels are then 0 to num_classes - 1.
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
    x, y = checked_inputs("x", x, kind), checked_labels("y", y)
    warn_of_channels_first(x)
    if mean is None and std is None:
        warn_of_pixels(x)
    check_same_length("x", x, "y", y)
    group = checked_column("groups", groups, len(x))
    if (x_test is None) != (y_test is None):
        missing, given = ("y_test", "x_test") if y_test is None else ("x_test", "y_test")
        raise UserError(f"{missing}: missing although {given} is given; give both or neither")
    if x_test is None or y_test is None:
        if groups_test is not None:
            raise UserError(
                "groups_test: given without x_test; leave it out, the held-out examples follow groups"
            )
        (group,), group_names = ((None,), ()) if group is None else numbered(group)
        what = "classes" if group is None else "groups"
        held_out = _held_out(y if group is None else group, what, test_fraction, seed)
        train, test = (
            Examples(x[rows], y[rows], None if group is None else group[rows])
            for rows in (~held_out, held_out)
        )
    else:
        train, test, group_names = _given_test(Examples(x, y, group), x_test, y_test, groups_test, kind)
    (train, test), classes, class_names = _classes(train, test, num_classes)
    default_mean, default_std = pixel_statistics(train.x) if x.dtype == np.uint8 else ((0.0,), (1.0,))
    return Dataset(
        name,
        train,
        test,
        classes,
        default_mean if mean is None else per_channel("mean", mean, x.shape[-1]),
        default_std if std is None else per_channel("std", std, x.shape[-1]),
        source="arrays",
        group_names=group_names,
        class_names=class_names,
    )


def _given_test(
    train: Examples, x_test: ArrayLike, y_test: ArrayLike, groups_test: ArrayLike | None, kind: Kind | None
) -> tuple[Examples, Examples, tuple[str, ...]]:
    """Train and test with matching inputs and groups numbered over both, and the groups' names."""
    x, y = checked_inputs("x_test", x_test, kind), checked_labels("y_test", y_test)
    check_same_length("x_test", x, "y_test", y)
    if x.shape[1:] != train.x.shape[1:] or x.dtype != train.x.dtype:
        raise UserError(
            f"x_test: examples of shape {x.shape[1:]} {x.dtype}, but those of x are {train.x.shape[1:]} "
            f"{train.x.dtype}; bring both to one shape and dtype"
        )
    group = checked_column("groups_test", groups_test, len(x))
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
    (first, second), names = numbered(train.group, group)
    return Examples(train.x, train.y, first), Examples(x, y, second), names


def _classes(
    train: Examples, test: Examples, num_classes: int | None
) -> tuple[tuple[Examples, Examples], int, tuple[str, ...]]:
    """Train and test with int32 labels 0 to C - 1, C, and the classes' names where these are others."""
    found = np.union1d(train.y, test.y)
    low, high = int(found[0]), int(found[-1])
    if len(found) == 1:
        warnings.warn(f"y: every label is {low}, so there is nothing to tell apart", stacklevel=3)
    if num_classes is not None:
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
    same = int(names[0]) == 0 and int(names[-1]) == classes - 1
    return (parts[0], parts[1]), classes, () if same else tuple(map(str, names.tolist()))


def _held_out(group: np.ndarray, what: str, fraction: float, seed: int) -> np.ndarray:
    """[M] bool: round(fraction * size) random examples of every group, of one-example groups none."""
    fraction, seed = plain_values(fraction), plain_values(seed)
    if not isinstance(fraction, float) or not 0 < fraction < 1:
        raise UserError(f"test_fraction: {fraction!r}; expected a share between 0 and 1 (or give x_test)")
    if type(seed) is not int or seed < 0:
        raise UserError(f"seed: {seed!r}; expected a whole number of at least 0")
    order = np.lexsort((np.random.default_rng(seed).random(len(group)), group))
    _, start, size = np.unique(group[order], return_index=True, return_counts=True)
    rank = np.arange(len(group)) - np.repeat(start, size)
    taken = np.minimum(np.rint(fraction * size), size - 1)
    held_out = np.zeros(len(group), bool)
    held_out[order] = rank < np.repeat(taken, size)
    if not held_out.any():
        hint = "raise it, or give" if size.max() > 1 else "each is alone there; give"
        raise UserError(
            f"test_fraction: {fraction} of {len(group)} examples in {len(size)} {what} holds out none; "
            f"{hint} x_test and y_test"
        )
    return held_out
