"""The user's own arrays as a Dataset: `from_arrays`."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fedtp_jax.config.plain import plain_values
from fedtp_jax.config.task import TaskKind
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.array_checks import Kind, checked_inputs, warn_of_channels_first, warn_of_pixels
from fedtp_jax.data.columns import check_same_length, checked_column, numbered
from fedtp_jax.data.dataset import Dataset, Examples
from fedtp_jax.data.scaling import Impute, Standardize, check_choice, scaled
from fedtp_jax.data.targets import check_task, checked_targets, numbered_classes, target_scale
from fedtp_jax.data.tokens import checked_tokens, in_vocabulary, next_token_windows


def from_arrays(
    x: ArrayLike,
    y: ArrayLike | None = None,
    x_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    *,
    kind: Kind | None = None,
    task: TaskKind = "classification",
    groups: ArrayLike | None = None,
    groups_test: ArrayLike | None = None,
    test_fraction: float = 0.2,
    num_classes: int | None = None,
    standardize: Standardize | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    impute: Impute | None = None,
    vocabulary: int | None = None,
    padding: int | None = None,
    name: str = "arrays",
    seed: int = 0,
) -> Dataset:
    """Make a data set of your own arrays, to be given as simulate(config, data=from_arrays(...)).

    Args:
        x: [M, H, W, C] images, channels last, [M, H, W] grey images, [M, T, C] series, [M, F] features, or
            [M, T] texts of token ids. uint8 means pixels 0 to 255, which enter the model as
            (x / 255 - mean) / std. float16, float32 and float64 are held as float32 and enter it as
            (x - mean) / std. Other dtypes are refused, for it would be a guess whether they are pixels; of
            kind "tokens" x are integers.
        y: [M] labels: integers, texts or booleans. The distinct ones become classes 0 to C - 1 in their order
            (labels 0 to C - 1 stay what they are), and are kept as class_names. Tokens may have none: then
            each position of a text is to predict the next token, and a text is one example. Of other `task`s
            numbers [M] or [M, C], or [M, C] of 0 and 1.
        x_test: [M', ...] test examples of x's dtype and shape. Without them, test_fraction of the
            examples is held out of x.
        y_test: [M'] their labels; exactly when x_test and y are given.
        kind: "image", "series", "features" or "tokens". Needed where shape and dtype have two readings:
            three axes (grey images or series), and integers (tokens, or numbers to be made floats).
        task: what y says, as the setting task.kind does: "classification", "regression" (numbers, which the
            loss sees with mean 0 and std 1 over the train examples, and measures as they are) or "multilabel"
            (which of C labels hold).
        groups: [M] who each example belongs to (writer, role, hospital, device): integers or strings. With
            partition `natural` every group is a client. The sorted distinct values of groups and groups_test
            become groups 0 to N - 1 (integers 0 to N - 1 stay what they are) and are kept as group_names.
        groups_test: [M'] the same for x_test; exactly when x_test and groups are given.
        test_fraction: share of each group's examples (without groups: of each class's) that is held out when
            there is no x_test, rounded to whole examples; at least one of each stays for training. Both
            parts keep the order of x.
        num_classes: number of classes, where not all of them occur; labels are then 0 to num_classes - 1.
        standardize: by what floats are brought to mean 0 and std 1, for each entry of the last axis: by the
            train examples of all ("pooled"), or by those of the example's own group ("client"); or "none".
            Default: pooled for features and series without `mean` or `std`, else none. Clients that a
            result meets later (Result.personalize) take its pooled statistics, but "client" again.
        mean, std: one number, or one for each entry of the last axis. Default for uint8: those of the
            train examples / 255, for each entry of the last axis (std 1 where it is constant); for floats: as
            `standardize` says.
        impute: replace NaN, and entries that are masked, by the "mean" or "median" of the train examples'
            other values at the same entry of the last axis. Without it they are refused.
        vocabulary: how many token ids there are, 0 to vocabulary - 1. Default: up to the largest that occurs.
        padding: the token id that fills shorter texts up behind their end: models neither see nor learn it.
        name: what to call the data set in output and errors.
        seed: seeds the choice of the held-out examples, and nothing else.

    Returns:
        Dataset with x in uint8, float32 or (tokens) int32, y in int32 (numbers in float64, several labels in
        uint8) and, if given, groups in int32.

    Raises:
        UserError: shapes, lengths, dtypes or labels do not fit, an array is empty, or x holds NaN or
            infinity; the message names the argument.
    """
    check_choice("standardize", standardize, ("pooled", "client", "none"))
    check_choice("impute", impute, ("mean", "median"))
    check_task(task)
    part = _examples("", x, y, groups, kind, impute, task)
    if mean is None and std is None:
        warn_of_pixels(part.x)
    train, test, group_names = (
        _split(part, groups_test, y_test, test_fraction, seed)
        if x_test is None
        else _given_test(part, _given(part, y is not None, x_test, y_test, groups_test, kind, impute, task))
    )
    ids = 0
    if kind == "tokens":
        _refuse({"standardize": standardize, "mean": mean, "std": std, "impute": impute})
        train, test, ids, padding = in_vocabulary(train, test, vocabulary, padding)
        if standardize is not None or impute is not None:
            field = "impute" if standardize is None else "standardize"
            raise UserError(f"{field}: given, but token ids are no measurements; leave it out")
    elif vocabulary is not None or padding is not None:
        field = "padding" if vocabulary is None else "vocabulary"
        raise UserError(f"{field}: given, but these are no token ids; leave it out, or say kind='tokens'")
    made = functools.partial(Dataset, name, source="arrays", group_names=group_names)
    if y is None:
        if num_classes is not None:
            raise UserError("num_classes: given without y; how many tokens there are is said by vocabulary")
        return made(*next_token_windows(train, test, padding), num_classes=ids)
    if task == "classification":
        (train, test), classes, class_names = numbered_classes(train, test, num_classes)
        made = functools.partial(made, num_classes=classes, class_names=class_names)
    else:
        if num_classes is not None:
            raise UserError(f"num_classes: given, but task is {task}, whose y says how many there are")
        made = functools.partial(made, num_classes=train.y.shape[1], task=task)
        if task == "regression":
            y_mean, y_std = target_scale(train)
            made = functools.partial(made, target_mean=y_mean, target_std=y_std)
    if kind == "tokens":
        return made(train, test, ids=ids, padding=padding)
    train, test, x_mean, x_std = scaled(train, test, group_names, standardize, mean, std, impute)
    return made(train, test, mean=x_mean, std=x_std)


def from_source(field: str, source: str, x: ArrayLike, y: ArrayLike | None, **options: Any) -> Dataset:
    """As `from_arrays`, of what was read from `source`; errors begin with the setting and the place."""
    try:
        made = from_arrays(x, y, **options)
    except UserError as error:
        words = str(error).replace("say task='", "set task.kind='")
        raise UserError(f"{field}: {source}: {words}") from error
    return dataclasses.replace(made, source=source)


def by_split(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray | None, train: np.ndarray | None
) -> dict[str, np.ndarray | None]:
    """Arguments of `from_arrays` for rows [M]: those of `train` [M] bool, and as test examples the others."""
    if train is None:
        return {"x": x, "y": y, "groups": groups}
    parts = {"x": x, "y": y} | ({} if groups is None else {"groups": groups})
    return {name: part[train] for name, part in parts.items()} | {
        f"{name}_test": part[~train] for name, part in parts.items()
    }


def _examples(
    suffix: str,
    x: ArrayLike,
    y: ArrayLike | None,
    groups: ArrayLike | None,
    kind: Kind | None,
    impute: Impute | None,
    task: TaskKind,
) -> Examples:
    """Checked, with labels and groups as they came; `suffix` of the arguments' names."""
    if kind == "tokens":
        inputs = checked_tokens(f"x{suffix}", x)
    else:
        inputs = checked_inputs(f"x{suffix}", x, kind, impute is not None)
    if not suffix:
        warn_of_channels_first(inputs)
    if y is None:
        if kind != "tokens" or task != "classification":
            raise UserError(f"y{suffix}: missing; give a label for each example (tokens alone may have none)")
        labels = np.zeros(len(inputs), np.int64)
    else:
        labels = checked_targets(f"y{suffix}", y, task)
    check_same_length(f"x{suffix}", inputs, f"y{suffix}", labels)
    return Examples(inputs, labels, checked_column(f"groups{suffix}", groups, len(inputs)))


def _split(
    part: Examples, groups_test: object, y_test: object, fraction: float, seed: int
) -> tuple[Examples, Examples, tuple[str, ...]]:
    """Train, held-out test examples, and the groups' names."""
    if y_test is not None:
        raise UserError("x_test: missing although y_test is given; give both or neither")
    if groups_test is not None:
        raise UserError(
            "groups_test: given without x_test; leave it out, the held-out examples follow groups"
        )
    x, y, group = part.x, part.y, part.group
    (group,), names = ((None,), ()) if group is None else numbered(group)
    classes = (y, "classes") if y.ndim == 1 else (np.zeros(len(y)), "part")
    of, what = classes if group is None else (group, "groups")
    held_out = _held_out(np.unique(of, return_inverse=True)[1], what, fraction, seed)
    train, test = (
        Examples(x[rows], y[rows], None if group is None else group[rows]) for rows in (~held_out, held_out)
    )
    return train, test, names


def _refuse(given: dict[str, object]) -> None:
    """Raise UserError for what token ids are not asked."""
    for field, value in given.items():
        if value is not None:
            raise UserError(f"{field}: given, but token ids are no measurements; leave it out")


def _given(
    train: Examples,
    labelled: bool,
    x: ArrayLike,
    y: ArrayLike | None,
    groups: ArrayLike | None,
    kind: Kind | None,
    impute: Impute | None,
    task: TaskKind,
) -> Examples:
    labels = "x_test and y are" if kind == "tokens" else "x_test is"
    if y is None and (kind != "tokens" or labelled):
        raise UserError(f"y_test: missing although {labels} given; give it too")
    if y is not None and not labelled:
        raise UserError("y: missing although y_test is given; give both or neither")
    part = _examples("_test", x, y, groups, kind, impute, task)
    if part.x.shape[1:] != train.x.shape[1:] or part.x.dtype != train.x.dtype:
        raise UserError(
            f"x_test: examples of shape {part.x.shape[1:]} {part.x.dtype}, but those of x are "
            f"{train.x.shape[1:]} {train.x.dtype}; bring both to one shape and dtype"
        )
    if part.y.shape[1:] != train.y.shape[1:]:
        raise UserError(f"y_test: {part.y.shape[1]} columns, but y has {train.y.shape[1]}; give as many")
    if part.y.dtype.kind != train.y.dtype.kind:
        what = {"U": "texts", "i": "integers"}
        raise UserError(
            f"y_test: holds {what[part.y.dtype.kind]}, but y holds {what[train.y.dtype.kind]}; use the same "
            "labels in both"
        )
    return part


def _given_test(train: Examples, test: Examples) -> tuple[Examples, Examples, tuple[str, ...]]:
    """Train and test with groups numbered over both, and the groups' names."""
    if (train.group is None) != (test.group is None):
        missing, given = ("groups_test", "groups") if test.group is None else ("groups", "groups_test")
        raise UserError(f"{missing}: missing although {given} and x_test are given; give both or neither")
    if train.group is None or test.group is None:
        return train, test, ()
    if train.group.dtype.kind != test.group.dtype.kind:
        raise UserError(
            f"groups_test: holds {test.group.dtype}, but groups holds {train.group.dtype}; use the same "
            "names in both"
        )
    (first, second), names = numbered(train.group, test.group)
    return dataclasses.replace(train, group=first), dataclasses.replace(test, group=second), names


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
