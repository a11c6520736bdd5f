"""What a client changes, of all leaves that it uploads, and another change in its place."""

from collections.abc import Callable

import jax.numpy as jnp

from fedtp_jax.core.tree import Leaves
from fedtp_jax.learning.method import Kept, Method, State, Upload


def change_of(shared: Leaves, upload: Upload, kept: Kept, like: Leaves) -> Leaves:
    """returned - sent, of the shared and generated leaves that `like` names."""
    weight = jnp.where(upload.weight > 0, upload.weight, 1.0)
    return {
        path: upload.shared[path] / weight - shared[path]
        if path in upload.shared
        else -kept.cotangent[path] / weight
        for path in like
    }


def with_more(upload: Upload, kept: Kept, more: Leaves) -> tuple[Upload, Kept]:
    """The upload whose change is larger by `more`, which is weighed already.

    What is added is 0 where a change stays as it was, so that its bits do.
    """
    return (
        upload._replace(shared={p: w + more[p] if p in more else w for p, w in upload.shared.items()}),
        kept._replace(cotangent={p: c - more[p] for p, c in kept.cotangent.items()}),
    )


def by_changes(method: Method) -> Callable[[State, Upload, Leaves], State]:
    """`method.aggregate` of one change of the shared leaves, in place of the sum of what clients returned."""

    def aggregate(state: State, upload: Upload, gradient: Leaves) -> State:
        travelling = method.travelling(state.shared)
        mean = {path: leaf + upload.shared[path] for path, leaf in travelling.items()}
        return method.aggregate(state, Upload(mean, jnp.ones(())), gradient)

    return aggregate
