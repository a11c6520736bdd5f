"""The hypernetwork sharded over the devices of a mesh: each holds some columns of every wide head.

A device makes its columns of all clients' leaves from their embeddings, and the devices exchange them, so
that each has its own clients' leaves whole; what the clients made of them goes back the same way. So no
device holds a wide head whole, or its gradient or its optimizer's state, and what travels are clients'
leaves. Of copies the gradients would be summed over the devices, as large as `hidden` clients' leaves.
"""

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.mesh import AXIS, replicated
from fedtp_jax.learning.method import Kept, Method, Received, State, Upload

WIDE = 2**12  # columns; below, collectives take their latency, of which an exchange has no less than a sum


def server_shardings(mesh: Mesh, server: State) -> State:
    """Where each leaf of the server's state lies: of the hypernetwork's as `by_columns`, of others copies."""

    def columns(leaves: Any) -> Any:
        return jax.tree.map(lambda leaf: by_columns(mesh, leaf.shape), leaves)

    copies: State = jax.tree.map(lambda _: replicated(mesh), server)
    return copies._replace(generator=columns(server.generator), generator_opt=columns(server.generator_opt))


def by_columns(mesh: Mesh, shape: tuple[int, ...]) -> NamedSharding:
    """The last axis split over the devices where it is wide and divides, or else copies."""
    *others, columns = shape or (0,)
    if mesh.size == 1 or columns < WIDE or columns % mesh.size:
        return replicated(mesh)
    return NamedSharding(mesh, P(*[None] * len(others), AXIS))


def sharded(method: Method, mesh: Mesh) -> Method:
    """`method` whose server's state lies on the mesh as `server_shardings` says; to be compiled for it."""
    if mesh.size == 1 or "generated" not in method.roles.values():
        return method

    def made(leaf: jax.Array) -> jax.Array:
        """A generated leaf [K, ...] where its head makes it; XLA moves it to where it is used."""
        flat = leaf.reshape(len(leaf), -1)
        where = by_columns(mesh, flat.shape)
        if where.is_fully_replicated:
            return leaf
        return jax.lax.with_sharding_constraint(flat, where).reshape(leaf.shape)

    def all_made(leaves: Leaves) -> Leaves:
        return {p: made(leaf) if method.roles.get(p) == "generated" else leaf for p, leaf in leaves.items()}

    def realize(shared: Leaves, phi: Leaves, own: Leaves) -> Leaves:
        return all_made(method.realize(shared, phi, own))

    def send(state: State) -> tuple[Leaves, Leaves]:
        shared, rows = method.send(state)
        return shared, all_made(rows)

    def receive(state: State, kept: Kept) -> Received:
        return method.receive(state, kept._replace(cotangent=all_made(kept.cotangent)))

    def aggregate(state: State, upload: Upload, gradient: Leaves) -> State:
        after = method.aggregate(state, upload, gradient)
        return jax.lax.with_sharding_constraint(after, server_shardings(mesh, after))

    return method._replace(realize=realize, send=send, receive=receive, aggregate=aggregate)
