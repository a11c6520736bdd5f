"""Variables that a run is given to start from: their form, and whether they are the model's."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError

COLLECTIONS = "params/", "batch_stats/"
MOST = 3  # leaves that a message names of each kind


def plain_leaves(variables: Mapping[str, Any], what: str) -> dict[str, np.ndarray]:
    """{path: float32 leaf} of Flax variables, nested or by their paths, in sorted order of paths.

    Raises UserError, which calls them `what`, for leaves that are no numbers or not finite.
    """
    found = {}
    try:
        leaves = tree.flatten(dict(variables))
    except TypeError:
        raise UserError(f"{what}: has names that are no texts; give Flax variables") from None
    for path, leaf in leaves.items():
        array = np.asarray(leaf)
        if not (jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)):
            raise UserError(f"{what}: {path} is {array.dtype}, expected numbers; give Flax variables")
        found[path] = array.astype(np.float32)
        if not np.isfinite(found[path]).all():
            raise UserError(f"{what}: {path} holds numbers that are not finite; give others")
    return found


def check_given(given: Mapping[str, Any], shapes: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of `given` that are the model's, of these `shapes` {path: ShapeDtypeStruct}.

    What a method has beside the model (FedRod's personal head) is left out. Raises UserError for a leaf that
    is missing, is none of the model's, or has another shape.
    """
    lacks = [f"{path} {list(shapes[path].shape)}" for path in shapes if path not in given]
    others = [path for path in given if path not in shapes and (lacks or path.startswith(COLLECTIONS))]
    wrong = [
        f"{path} {list(given[path].shape)}, expected {list(shapes[path].shape)}"
        for path in shapes
        if path in given and given[path].shape != shapes[path].shape
    ]
    found = {
        "lacks": lacks,
        "has other leaves": [f"{path} {list(given[path].shape)}" for path in others],
        "has other shapes": wrong,
    }
    if told := [f"{what}: {_first(leaves)}" for what, leaves in found.items() if leaves]:
        raise UserError(
            f"init: does not fit the model (it {'; it '.join(told)}); give all of this model's variables, "
            "or choose the model that they are of"
        )
    return {path: given[path] for path in shapes}


def _first(leaves: list[str]) -> str:
    more = len(leaves) - MOST
    return ", ".join(leaves[:MOST]) + (f" and {more} more" if more > 0 else "")
