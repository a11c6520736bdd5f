"""Which role each leaf has, and which rule gave it: for tables."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fedtp_jax.core import tree
from fedtp_jax.learning.method import EMBEDDING, OPTIMIZER, Method
from fedtp_jax.learning.task import Task

ORDER = ("shared", "fixed", "personal", "generated", "embedding", "hypernetwork")


@dataclasses.dataclass(frozen=True)
class LeafRole:
    """A leaf; one that every client has, or is generated for each, is told as it is of one client.

    Attributes:
      path, shape, dtype: the leaf.
      role: one of ORDER.
      rule: the regular expression that gave it the role, "" of what a method has beside the model.
      bytes: of one copy.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    role: str
    rule: str
    bytes: int


@dataclasses.dataclass(frozen=True)
class LeavesAlike:
    """Leaves that differ in numbers of their paths alone: `expression` matches the paths of all `count`.

    shape, dtype, role, rule: of each; bytes: of all.
    """

    expression: str
    count: int
    shape: tuple[int, ...]
    dtype: str
    role: str
    rule: str
    bytes: int


def leaf_roles(task: Task, method: Method) -> list[LeafRole]:
    """All leaves of the server's and of a client's, by role; the embeddings' optimizer states left out."""
    state = jax.eval_shape(method.init, jax.random.key(0), jax.ShapeDtypeStruct((1,), jnp.int32))
    model = task.leaf_shapes()
    rows = {p: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for p, leaf in state.rows.items()}
    fixed = tree.select(method.roles, method.roles, "fixed")
    found = [(p, leaf, "fixed" if p in fixed else "shared") for p, leaf in state.shared.items()]
    found += [
        (p, leaf, "embedding" if p == EMBEDDING else "personal")
        for p, leaf in rows.items()
        if not p.startswith(OPTIMIZER)
    ]
    found += [(p, model[p], "generated") for p, role in method.roles.items() if role == "generated"]
    found += [(p, leaf, "hypernetwork") for p, leaf in state.generator.items()]
    leaves = [
        LeafRole(p, leaf.shape, str(leaf.dtype), role, _rule(method, p, role), tree.num_bytes(leaf))
        for p, leaf, role in found
    ]
    return sorted(leaves, key=lambda leaf: (ORDER.index(leaf.role), leaf.path))


def _rule(method: Method, path: str, role: str) -> str:
    """The first expression that is found in the path, if its role is the leaf's."""
    if path not in method.roles or role not in ("shared", "fixed", "personal", "generated"):
        return ""
    each = ((given, pattern) for given, patterns in method.rules for pattern in patterns)
    given, pattern = next((pair for pair in each if re.search(pair[1], path)), ("", ""))
    based = (given, role) == ("generated", "shared")  # a base, to which something is added
    return pattern if given == role or based else ""


def leaves_in_short(leaves: Sequence[LeafRole]) -> list[LeavesAlike]:
    """A line for those that are alike but for numbers in their paths, such as one for all blocks."""
    alike: dict[Any, list[LeafRole]] = {}
    for leaf in leaves:
        alike.setdefault((leaf.shape, leaf.dtype, leaf.role, leaf.rule), []).append(leaf)
    found = []
    for (shape, dtype, role, rule), members in alike.items():
        for expression in tree.leaves_in_short([leaf.path for leaf in members]):
            fit = [leaf for leaf in members if re.fullmatch(expression, leaf.path)]
            size = sum(leaf.bytes for leaf in fit)
            found.append(LeavesAlike(expression, len(fit), shape, dtype, role, rule, size))
    return sorted(found, key=lambda line: (ORDER.index(line.role), line.expression))
