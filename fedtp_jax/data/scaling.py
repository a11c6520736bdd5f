"""Missing values and the scale of the user's own numbers, by what the train examples say."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from fedtp_jax.config.convert import show
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.array_checks import per_channel, pixel_statistics
from fedtp_jax.data.dataset import Examples, kind_of

Impute = Literal["mean", "median"]
Standardize = Literal["pooled", "client", "none"]


def filled(train: Examples, test: Examples, how: Impute) -> tuple[Examples, Examples]:
    """NaN replaced by mean or median of the train examples' other values, for each place of the last axis.

    Raises UserError where all train examples lack one.
    """
    channels = train.x.shape[-1]
    rows = train.x.reshape(-1, channels)
    if (empty := np.isnan(rows).all(0)).any():
        raise UserError(
            f"impute: no train example has a value at {empty.argmax()} of the last axis; leave that one out"
        )
    values = (np.nanmean if how == "mean" else np.nanmedian)(rows.astype(np.float64), axis=0)
    values = values.astype(np.float32)
    first, second = (
        dataclasses.replace(part, x=np.where(np.isnan(part.x), values, part.x)) for part in (train, test)
    )
    return first, second


def statistics(x: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and population std of floats for each place of the last axis; std 1 where all are equal."""
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    mean, std = rows.mean(0), rows.std(0)
    constant = rows.max(0) == rows.min(0)
    return tuple(mean.tolist()), tuple(np.where(constant, 1.0, std).tolist())


def by_client(train: Examples, test: Examples, names: tuple[str, ...]) -> tuple[Examples, Examples]:
    """Each group's examples, less the mean of its train examples, over their std.

    Raises UserError without groups, and for one without train examples.
    """
    if train.group is None or test.group is None:
        raise UserError("standardize: 'client', but there are no groups; give them, or use 'pooled'")
    scaled = [part.x.copy() for part in (train, test)]
    rows = [_by_group(group, len(names)) for group in (train.group, test.group)]
    for group, (mine, tested) in enumerate(zip(*rows, strict=True)):
        if not len(mine):
            raise UserError(
                f"standardize: 'client', but {names[group]!r} of groups_test has no train examples; give it "
                "some, or use 'pooled'"
            )
        mean, std = (np.asarray(values, np.float32) for values in statistics(train.x[mine]))
        for x, of in zip(scaled, (mine, tested), strict=True):
            x[of] = (x[of] - mean) / std
    return dataclasses.replace(train, x=scaled[0]), dataclasses.replace(test, x=scaled[1])


def _by_group(group: np.ndarray, groups: int) -> list[np.ndarray]:
    """For each of the groups 0 to `groups` - 1 its rows, ascending."""
    order = np.argsort(group, kind="stable")
    return np.split(order, np.searchsorted(group[order], np.arange(1, groups)))


def scaled(
    train: Examples,
    test: Examples,
    names: tuple[str, ...],
    standardize: Standardize | None,
    mean: float | Sequence[float] | None,
    std: float | Sequence[float] | None,
    impute: Impute | None,
) -> tuple[Examples, Examples, tuple[float, ...], tuple[float, ...]]:
    """(train, test, mean, std): without gaps, and what the engine normalises them by.

    `names` of the groups; the rest as `from_arrays` takes it.
    """
    pixels, given, channels = train.x.dtype == np.uint8, not (mean is std is None), train.x.shape[-1]
    if standardize in ("pooled", "client") and (given or pixels):
        why = (
            "mean or std is given" if given else "x is uint8, pixels, which have a mean and std of their own"
        )
        raise UserError(f"standardize: {standardize!r}, but {why}; leave one of the two out")
    if standardize is None:
        by_itself = kind_of(train.x.shape[1:]) in ("features", "series") and not given
        standardize = "pooled" if by_itself else "none"
    if impute and not pixels:
        train, test = filled(train, test, impute)
    if standardize == "client":
        train, test = by_client(train, test, names)
    own: tuple[tuple[float, ...], tuple[float, ...]] = (0.0,), (1.0,)
    if pixels:
        own = pixel_statistics(train.x)
    elif standardize == "pooled":
        own = statistics(train.x)
    own_mean, own_std = own
    return (
        train,
        test,
        own_mean if mean is None else per_channel("mean", mean, channels),
        own_std if std is None else per_channel("std", std, channels),
    )


def check_choice(field: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise UserError unless `value` is None or one of `choices`."""
    if value is not None and value not in choices:
        raise UserError(f"{field}: got {show(value)}; choose {', '.join(choices[:-1])} or {choices[-1]}")
