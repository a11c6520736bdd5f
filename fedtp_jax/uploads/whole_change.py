"""All that one client changes at the server: shared leaves, and by its generated leaves the hypernetwork."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import ClientWork, Row
from fedtp_jax.learning.method import EMBEDDING, Kept, Method, State, Upload

OWN = "whole_change/"  # begins the paths of what is sent and the local training is not shown
PHI = f"{OWN}phi/"  # the hypernetwork's
HYPERNETWORK = "hypernetwork/"  # and in a change those of the client's gradient of the hypernetwork

# (a client's upload, what is kept of it, its change, all shared that it was sent) -> another upload, and kept
Finish = Callable[[Upload, Kept, Leaves, Leaves], tuple[Upload, Kept]]


def with_whole_changes(method: Method, finish: Finish) -> Method:
    """`method` of whose clients `finish` makes the upload, given each one's change as well.

    That is returned - sent of the shared leaves and, under HYPERNETWORK, J_k^T (sent - returned) of the
    generated ones. In a simulation the hypernetwork comes to where the client trains; nothing of it is
    counted as traffic, for a server computes the same.
    """
    generates = "generated" in method.roles.values()

    def send(state: State) -> tuple[Leaves, Leaves]:
        shared, rows = method.send(state)
        if not generates:
            return shared, rows
        phi = {f"{PHI}{path}": leaf for path, leaf in state.generator.items()}
        return {**shared, **phi}, {**rows, f"{OWN}{EMBEDDING}": state.rows[EMBEDDING]}

    def start(shared: Leaves, row: Row, key: jax.Array) -> Any:
        return method.work.start(*_public(shared, row), key)

    def step(shared: Leaves, row: Row, *given: Any) -> Any:
        return method.work.step(*_public(shared, row), *given)

    def last(shared: Leaves, row: Row, carry: Any) -> tuple[Upload, Kept]:
        sent, own_row = _public(shared, row)
        upload, kept = method.work.finish(sent, own_row, carry)
        weight = jnp.where(upload.weight > 0, upload.weight, 1.0)
        change = {path: leaf / weight - sent[path] for path, leaf in upload.shared.items()}
        if generates:
            back = {path: leaf / weight for path, leaf in kept.cotangent.items()}
            change |= _gradient(method, sent, shared, own_row, row, back)
        return finish(upload, kept, change, shared)

    return method._replace(send=send, work=ClientWork(start, step, last))


def _gradient(
    method: Method, sent: Leaves, shared: Leaves, own_row: Row, row: Row, cotangent: Leaves
) -> Leaves:
    """J_k^T cotangent_k of one client, under HYPERNETWORK."""
    phi = {path.removeprefix(PHI): leaf for path, leaf in shared.items() if path.startswith(PHI)}
    own = {path: leaf[None] for path, leaf in own_row.leaves.items() if path not in cotangent}
    own[EMBEDDING] = row.leaves[f"{OWN}{EMBEDDING}"][None]

    def generate(phi: Leaves) -> Leaves:
        made = method.realize(sent, phi, own)
        return {path: made[path] for path in cotangent}

    _, pull = jax.vjp(generate, phi)
    (gradient,) = pull({path: leaf[None] for path, leaf in cotangent.items()})
    return {f"{HYPERNETWORK}{path}": leaf for path, leaf in gradient.items()}


def _public(shared: Leaves, row: Row) -> tuple[Leaves, Row]:
    """What the method's own local training is shown."""

    def without(leaves: Leaves) -> Leaves:
        return {path: leaf for path, leaf in leaves.items() if not path.startswith(OWN)}

    return without(shared), row._replace(leaves=without(row.leaves))
