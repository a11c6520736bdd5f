"""LEAF's data sets (Caldas et al., 2018), as its scripts write them: JSON files of users' examples."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fedtp_jax.config import Leaf
from fedtp_jax.core.errors import UserError, in_one_line, user_path
from fedtp_jax.data.arrays import from_source
from fedtp_jax.data.dataset import Dataset, kind_of


class _Split(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    users: np.ndarray


def read_leaf(config: Leaf) -> Dataset:
    """The users of train/*.json and test/*.json in `directory`, whose names become those of the groups.

    Raises:
        UserError: no such folder or files, damaged ones, texts instead of numbers, examples of several
            sizes or of another than `shape`, or what `from_arrays` refuses.
    """
    if config.directory is None:
        raise UserError("data.directory: missing; give LEAF's data folder, which holds train/ and test/")
    root = user_path(config.directory)
    train, test = (_read(root / name) for name in ("train", "test"))
    shape = config.shape or train.x.shape[1:]
    for part in (train, test):
        if math.prod(shape) != math.prod(part.x.shape[1:]):
            raise UserError(
                f"data.shape: {list(shape)}, but examples have {math.prod(part.x.shape[1:])} numbers; give a "
                "shape of as many"
            )
    if (kind := kind_of(shape)) == "array":
        raise UserError(
            f"data.shape: {list(shape)}; expected [features], [steps, channels] or [height, width, channels]"
        )
    return from_source(
        "data.directory",
        str(root),
        train.x.reshape(-1, *shape),
        train.y,
        x_test=test.x.reshape(-1, *shape),
        y_test=test.y,
        kind=kind,
        groups=train.users,
        groups_test=test.users,
        name=root.name or "leaf",
    )


def _read(folder: Path) -> _Split:
    """The examples of all files in a folder, by their names, and in them by user."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise UserError(
            f"data.directory: {folder} holds no .json file; give LEAF's data folder, of train/ and test/"
        )
    x, y, users = list[np.ndarray](), list[Any](), list[str]()
    for path in files:
        for user, values, of_user in _users(path):
            some = _numbers(path, user, values)
            if len(some) != len(of_user):
                raise _damaged(path, f"{user!r} has {len(some)} x and {len(of_user)} y")
            if x and len(some) and some.shape[1:] != x[0].shape[1:]:
                sizes = f"{list(some.shape[1:])} and {list(x[0].shape[1:])}"
                raise UserError(
                    f"data.directory: {path}: examples of the shapes {sizes}; give one shape to all"
                )
            if len(some):
                x.append(some)
                y += of_user
                users += [user] * len(some)
    if not x:
        raise UserError(f"data.directory: {folder}: no user has an example; give other files")
    try:
        labels = np.asarray(y)
    except ValueError:
        labels = np.zeros(0)
    if labels.ndim != 1 or labels.dtype.kind not in "iU":
        raise UserError(
            f"data.directory: {folder}: labels of {labels.dtype}; expected whole numbers or texts"
        )
    return _Split(np.concatenate(x), labels, np.array(users))


def _users(path: Path) -> list[tuple[str, list[Any], list[Any]]]:
    """(user, x, y) of a file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        data = [(str(user), content["user_data"][user]) for user in content["users"]]
        return [(user, list(part["x"]), list(part["y"])) for user, part in data]
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, in_one_line(error)) from error
    except KeyError as error:
        raise _damaged(path, f"it lacks {error}") from error
    except TypeError as error:
        raise _damaged(path, in_one_line(error)) from error


def _numbers(path: Path, user: str, values: Any) -> np.ndarray:
    """[M, ...] float32 of a user's x."""
    try:
        x = np.asarray(values)
    except ValueError:
        raise _damaged(path, f"x of {user!r} are of several lengths") from None
    if x.dtype.kind in "US":
        raise UserError(
            f"data.directory: {path}: x of {user!r} are texts; numbers are read: for Shakespeare's plays "
            "choose data shakespeare, and give other texts as token ids (from_arrays)"
        )
    if x.size and (x.dtype.kind not in "iufb" or x.ndim < 2):
        raise _damaged(path, f"x of {user!r} are no lists of numbers")
    return x.astype(np.float32)


def _damaged(path: Path, what: str) -> UserError:
    return UserError(
        f"data.directory: {path} is damaged or not LEAF's: {what}; expected users, and user_data with x and "
        "y of each"
    )
