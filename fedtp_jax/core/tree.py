"""Variables as flat dictionaries: leaf path -> array, and the role that each leaf plays.

A path joins the names of collections, modules and leaf by slashes, as in
"params/block_0/attention/query/kernel".
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from fedtp_jax.core.errors import UserError, nearest

Role = Literal["shared", "personal", "generated", "fixed"]
Leaves = dict[str, jax.Array]


def flatten(variables: Mapping[str, Any]) -> Leaves:
    """Nested variables as a flat dictionary, in sorted order of paths."""
    flat = flatten_dict(variables, sep="/")
    return {path: flat[path] for path in sorted(flat)}


def unflatten(leaves: Leaves) -> dict[str, Any]:
    """The nested variables that a Flax model's `apply` takes."""
    return unflatten_dict(leaves, sep="/")


def assign_roles(paths: Sequence[str], rules: Sequence[tuple[Role, Sequence[str]]]) -> dict[str, Role]:
    """The role of each leaf path: that of the first rule with a regular expression found in the path.

    Raises UserError for a leaf that no rule matches, an expression that matches no leaf or (but in the last
    rule, for the rest) only leaves of other roles, or one that is not a regular expression.
    """
    found = [(role, matching(paths, patterns, f"method.{role}")) for role, patterns in rules]
    roles: dict[str, Role] = {}
    for path in paths:
        role = next((role for role, matched in found if path in matched), None)
        if role is None:
            raise UserError(f"method: no rule gives leaf {path!r} a role; add a rule that matches it")
        roles[path] = role
    for role, patterns in rules[:-1]:
        for pattern in patterns:
            taken = {roles[path] for path in paths if re.search(pattern, path)}
            if role not in taken:
                raise UserError(
                    f"method.{role}: {pattern!r} matches only leaves that are {' or '.join(sorted(taken))} "
                    "already; a leaf has one role, leave it out or write another expression"
                )
    return roles


def matching(paths: Sequence[str], patterns: Sequence[str], field: str) -> set[str]:
    """The paths in which one of these regular expressions is found.

    Raises UserError, which names the setting `field`, for an expression that is found in none, or is none.
    """
    matched: set[str] = set()
    for pattern in patterns:
        try:
            found = {path for path in paths if re.search(pattern, path)}
        except re.error as error:
            raise UserError(
                f"{field}: {pattern!r} is not a regular expression ({error}); "
                "write one that matches leaf paths such as 'params/head/kernel'"
            ) from None
        if not found:
            words = {word for path in paths for word in path.split("/")}
            raise UserError(
                f"{field}: {pattern!r} matches no leaf of the model{nearest(pattern, words)}; "
                f"the leaves are {', '.join(leaves_in_short(paths))}"
            )
        matched |= found
    return matched


def leaves_in_short(paths: Sequence[str]) -> list[str]:
    """Expressions that together match every path, one for those that differ in numbers alone."""
    number = re.compile(r"(?<=[_/])\d+(?=[/.])")
    alike: dict[tuple[str, ...], list[str]] = {}
    for path in paths:
        alike.setdefault(tuple(number.split(path)), []).append(path)
    found = []
    for words, members in sorted(alike.items()):
        numbers = [sorted(set(map(int, at))) for at in zip(*map(number.findall, members), strict=True)]
        if math.prod(map(len, numbers)) == len(members):
            found.append("".join(word + _any_of(at) for word, at in zip(words, [*numbers, []], strict=True)))
        else:
            found += members
    return found


def _any_of(numbers: Sequence[int]) -> str:
    """An expression for these numbers, "[0-5]"."""
    if len(numbers) < 2:
        return "".join(map(str, numbers))
    low, high = numbers[0], numbers[-1]
    if high < 10 and high - low + 1 == len(numbers):
        return f"[{low}-{high}]"
    return f"({'|'.join(map(str, numbers))})"


def select(leaves: Mapping[str, Any], roles: Mapping[str, Role], *wanted: Role) -> dict[str, Any]:
    """The leaves whose role is among `wanted`; what a method has beside the model may have none."""
    return {path: leaf for path, leaf in leaves.items() if roles.get(path) in wanted}


def rows_like(row: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Shapes [count, ...] of so many rows like this one."""
    return {p: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype) for p, leaf in row.items()}


def take_rows(rows: Any, ids: jax.Array) -> Any:
    """Rows `ids` [K] of every leaf [N, ...]."""
    return jax.tree.map(lambda leaf: jnp.take(leaf, ids, axis=0, mode="clip"), rows)


def repeated(leaves: Mapping[str, jax.Array], count: int) -> dict[str, jax.Array]:
    """{path: [count, ...]}: the same row so many times."""
    return {path: jnp.broadcast_to(leaf, (count, *leaf.shape)) for path, leaf in leaves.items()}


def put_rows(rows: Any, ids: jax.Array, new: Any) -> Any:
    """`rows` [N, ...] with rows `ids` [K] replaced by `new` [K, ...]; an id of N or more writes nothing.

    Ids below N are distinct.
    """
    # those that write nothing are made distinct too: GPUs that are to be deterministic sort what may be equal
    beyond = jnp.arange(len(ids), dtype=ids.dtype)

    def put(leaf: jax.Array, row: jax.Array) -> jax.Array:
        distinct = jnp.where(ids < len(leaf), ids, len(leaf) + beyond)
        return leaf.at[distinct].set(row, mode="drop", unique_indices=True)

    return jax.tree.map(put, rows, new)


def where_rows(mask: jax.Array, yes: Any, no: Any) -> Any:
    """Row-wise choice between two trees of equal shapes [L, ...] by mask [L]."""

    def choose(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - mask.ndim)), a, b)

    return jax.tree.map(choose, yes, no)


def add(a: Any, b: Any) -> Any:
    """Leaf-wise sum of two trees."""
    return jax.tree.map(jnp.add, a, b)


def scale(tree: Any, factor: jax.Array) -> Any:
    """Every leaf times a scalar."""
    return jax.tree.map(lambda leaf: leaf * factor, tree)


def all_finite(tree: Any) -> jax.Array:
    """Whether no leaf holds a NaN or an infinity."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def num_bytes(tree: Any) -> int:
    """Bytes of all leaves; arrays or ShapeDtypeStructs."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
