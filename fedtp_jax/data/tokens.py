"""Texts of the user's own token ids: what they must be, with one message for what does not fit."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from fedtp_jax.config.convert import show
from fedtp_jax.config.plain import plain_values
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.array_checks import plain_array
from fedtp_jax.data.dataset import Examples, Windows

MOST_IDS = 2**24  # an embedding of more would fit nowhere


def checked_tokens(field: str, value: ArrayLike) -> np.ndarray:
    """[M, T] ids of at least 0, int64."""
    x = plain_array(field, value)
    if x.ndim != 2 or x.dtype.kind not in "iu":
        raise UserError(f"{field}: shape {x.shape} {x.dtype}; expected [M, T] integer ids of kind 'tokens'")
    if int(x.min()) < 0:
        raise UserError(
            f"{field}: holds the id {x.min()}; expected ids of at least 0, the padding's included"
        )
    return x.astype(np.int64)


def in_vocabulary(
    train: Examples, test: Examples, vocabulary: int | None, padding: int | None
) -> tuple[Examples, Examples, int, int | None]:
    """Train and test with int32 ids, how many ids there are, and the padding's."""
    parts = {"x": train.x, "x_test": test.x}
    ids = _vocabulary(parts, vocabulary)
    padding = _checked_padding(parts, padding, ids)
    train, test = (dataclasses.replace(part, x=part.x.astype(np.int32)) for part in (train, test))
    return train, test, ids, padding


def _vocabulary(parts: dict[str, np.ndarray], vocabulary: int | None) -> int:
    """How many ids there are: the largest that occurs in the arrays and one, or as many as given."""
    field, found = max(((name, int(x.max())) for name, x in parts.items()), key=lambda part: part[1])
    if vocabulary is None:
        if found >= MOST_IDS:
            raise UserError(
                f"{field}: holds the id {found}; ids run to {MOST_IDS - 1} at most: renumber them"
            )
        return found + 1
    given = plain_values(vocabulary)
    if type(given) is not int or not 1 <= given <= MOST_IDS:
        raise UserError(f"vocabulary: {show(vocabulary)}; expected a whole number from 1 to {MOST_IDS}")
    if found >= given:
        raise UserError(
            f"vocabulary: {given}, but {field} holds the id {found}; ids run from 0 to vocabulary - 1"
        )
    return given


def _checked_padding(parts: dict[str, np.ndarray], padding: int | None, ids: int) -> int | None:
    """UserError unless it is an id that stands behind the ends of texts alone."""
    if padding is None:
        return None
    given = plain_values(padding)
    if type(given) is not int or not 0 <= given < ids:
        raise UserError(f"padding: {show(padding)}; expected one of the {ids} ids, 0 to {ids - 1}")
    for field, x in parts.items():
        is_padding = x == given
        empty, before = is_padding[:, 0], (is_padding[:, :-1] & ~is_padding[:, 1:]).any(1)
        if before.any():
            row = before.argmax()
            raise UserError(
                f"{field}: row {row} holds padding (id {given}) before a token; move it behind the end"
            )
        if empty.any():
            raise UserError(f"{field}: row {empty.argmax()} is padding (id {given}) alone; leave it out")
    return given


def next_token_windows(train: Examples, test: Examples, padding: int | None) -> tuple[Windows, Windows]:
    """Each text [T] as one window of T - 1 ids, whose labels are the ids one position on."""
    if padding is not None:
        raise UserError(
            "padding: given without y, but every token is to be predicted; cut texts to one length"
        )
    length = train.x.shape[1]
    if length < 2:
        raise UserError("x: texts of one token, after which none comes to be predicted; give longer ones")

    def windows(part: Examples) -> Windows:
        start = np.arange(len(part), dtype=np.int32) * np.int32(length)
        return Windows(part.x.ravel(), start, length - 1, part.group)

    return windows(train), windows(test)
