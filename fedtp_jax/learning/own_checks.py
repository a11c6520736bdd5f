"""Traces the functions of a user's own method on shapes, and says what is wrong with what they give."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from flax.errors import ScopeCollectionNotFound, ScopeParamNotFoundError, ScopeVariableNotFoundError

from fedtp_jax.core.errors import UserError, nearest
from fedtp_jax.core.importable import failure

LACKS_A_LEAF = ScopeParamNotFoundError, ScopeVariableNotFoundError, ScopeCollectionNotFound


MOST = 3  # leaves that a message lists


class Checks(NamedTuple):
    """Traces a method's functions on shapes, and says what is wrong with what they give."""

    called: str
    clients: int  # K, no other axis is as long

    def error(self, part: str, text: str) -> UserError:
        return UserError(f"method {self.called}: {part} {text}")

    def trace(self, part: str, function: Callable[..., Any], *given: Any) -> Any:
        """Shapes of what `function` returns; what it raises becomes a UserError."""
        try:
            return jax.eval_shape(function, *given)
        except UserError:
            raise
        except Exception as error:  # of the user's own code
            advice = "mend it"
            if isinstance(error, LACKS_A_LEAF):
                advice = "hand the model all of its leaves, those of task.leaf_shapes()"
            raise self.error(part, f"fails ({failure(error)}); {advice}") from error

    def record(
        self, part: str, kinds: type | Sequence[type], function: Callable[..., Any], *given: Any
    ) -> Any:
        """As `trace`, of a function that returns one of this kind, or a tuple of these."""
        found = self.trace(part, function, *given)
        if isinstance(kinds, type):
            fits, expected = isinstance(found, kinds), f"a {kinds.__name__}"
        else:
            fits = isinstance(found, tuple) and [*map(type, found)] == [*kinds]
            expected = f"({', '.join(kind.__name__ for kind in kinds)})"
        if not fits:
            raise self.error(part, f"returns {kind_of(found)}, expected {expected}")
        return found

    def leaves(self, part: str, name: str, found: Any, by_client: bool = False) -> None:
        """Raise UserError unless it is {path: array}, or {path: [K, ...]}."""
        rows = "[K, ...]" if by_client else "array"
        if not isinstance(found, Mapping):
            raise self.error(part, f"returns {kind_of(found)} as {name}, expected {{path: {rows}}}")
        for path, leaf in found.items():
            if not isinstance(leaf, jax.ShapeDtypeStruct):
                text = f"{kind_of(leaf)} as {name}[{path!r}], expected {{path: {rows}}}"
                raise self.error(part, f"returns {text}")
            if by_client and leaf.shape[:1] != (self.clients,):
                text = f"{self._text(leaf)}, expected a row for each of K clients, [K, ...]"
                raise self.error(part, f"returns {name}[{path!r}] as {text}")

    def alike(self, part: str, name: str, found: Any, expected: Any, source: str, advice: str) -> None:
        """Raise UserError unless both have the same leaves, of the same shapes and dtypes.

        `source`: whose leaves the expected ones are.
        """
        if type(found) is not type(expected):
            raise self.error(
                part, f"returns {kind_of(found)} as {name}, expected {kind_of(expected)}; {advice}"
            )
        ours, theirs = ({name + at: leaf for at, leaf in _by_place(of)} for of in (found, expected))
        if lacking := [at for at in theirs if at not in ours]:
            raise self.error(part, f"lacks {some_of(lacking)} of {source}; {advice}")
        if beyond := [at for at in ours if at not in theirs]:
            meant = nearest(beyond[0], theirs)
            raise self.error(
                part, f"returns {some_of(beyond)}{meant}, which is not in {source}; leave it out"
            )
        for at, leaf in ours.items():
            if (leaf.shape, leaf.dtype) != (theirs[at].shape, theirs[at].dtype):
                differs = f"returns {at} as {self._text(leaf)}, expected {self._text(theirs[at])}"
                raise self.error(part, f"{differs}{f', as in {source}' if source else ''}; {advice}")
        if jax.tree.structure(found) != jax.tree.structure(expected):  # type: ignore[operator]
            raise self.error(part, f"returns {name} in containers of other types than {source}; {advice}")

    def _text(self, leaf: Any) -> str:
        sizes = ("K" if size == self.clients else str(size) for size in leaf.shape)
        return f"{leaf.dtype.name}[{', '.join(sizes)}]"


def _by_place(of: Any) -> list[tuple[str, Any]]:
    """Every leaf and where it is, as Python has it: ".shared['params/head/kernel']"."""
    return [(jax.tree_util.keystr(at), leaf) for at, leaf in jax.tree_util.tree_flatten_with_path(of)[0]]


def kind_of(value: Any) -> str:
    """ "a dict", "(Carry, Output)"."""
    if type(value) is tuple:
        return f"({', '.join(type(part).__name__ for part in value)})"
    if isinstance(value, jax.ShapeDtypeStruct):
        return f"{value.dtype.name}{list(value.shape)}"
    return f"a {type(value).__name__}"


def some_of(places: Sequence[str]) -> str:
    more = len(places) - MOST
    return ", ".join(places[:MOST]) + (f" and {more} more" if more > 0 else "")
