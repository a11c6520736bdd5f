"""Clients' embeddings, which lie on the host like all rows: learnt by steps of the server's, or computed."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from fedtp_jax.core import tree
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.population import Rows
from fedtp_jax.engine.workbench import Workbench
from fedtp_jax.evaluation.descriptions import Descriptions
from fedtp_jax.learning.method import EMBEDDING, OPTIMIZER, Method, State
from fedtp_jax.simulation.initial_state import InitialState

DENSE_UP_TO = 10_000  # clients, by `embedding_update: auto`
Gradients = Sequence[Mapping[str, Any]]  # {EMBEDDING: [K, E]} of each wave of a round, or {}


class Embeddings:
    """Learnt: a step after each round, for all clients (dense) or for the cohort (sparse).

    Args:
      method: gives the method whose `step_embeddings` is run.
      initial: tells of the rows.
      bench: the devices.

    Attributes:
      parts: what has a layout of its own.
    """

    parts: Sequence[Descriptions] = ()

    def __init__(self, method: Callable[[], Method], initial: InitialState, bench: Workbench) -> None:
        self._method, self._bench, self._clients = method, bench, initial.num_clients
        self._paths = [p for p in initial.row if p == EMBEDDING or p.startswith(OPTIMIZER)]
        self._initial, self._chunk = initial, initial.chunk
        if self._paths:
            update = method().hypernetwork.embedding_update
            self.dense = update == "dense" or (update == "auto" and self._clients <= DENSE_UP_TO)

    def rows(self, state: State, paths: list[str], round: int | None = None) -> Callable[[np.ndarray], Rows]:
        """ids [K] -> {path: [K, ...]}: rows of these clients in `round`, or (None) outside the training."""
        return functools.partial(state.rows.take, paths=paths)

    def settle(self, state: State) -> None:
        """Have all rows hold what `rows` gives outside the training."""

    def step(self, state: State, round: int, ids: np.ndarray, gradients: Gradients, totals: Any) -> Any:
        """Learn from a round of the clients `ids`, to whose embeddings the gradients are (N: to nobody's).

        `totals`: the round's upload and gradient of the hypernetwork, which are given back. Each embedding
        steps along its gradient / the upload's weight.
        """
        if not self._paths:
            return totals
        none: Any = [] if gradients else [{EMBEDDING: np.zeros((0, *self._initial.row[EMBEDDING].shape))}]
        ids, gradient = _of_clients(ids, [*gradients, *none], self._clients)
        gradient = gradient.astype(np.float32) / np.float32(jax.device_get(totals[0].weight))
        if self.dense:
            whole = np.zeros((self._clients, gradient.shape[1]), np.float32)
            whole[ids] = gradient
            ids, gradient = np.arange(self._clients), whole
        for first in range(0, len(ids), self._chunk):
            part = slice(first, first + self._chunk)
            missing = self._chunk - len(ids[part])
            some = np.pad(ids[part], (0, missing), constant_values=self._clients)
            along = np.pad(gradient[part], ((0, missing), (0, 0)))
            taken = self._bench.replicate((state.rows.take(some, self._paths), along))
            stepped = self._bench.programs("embeddings", self._step, *taken)
            state.rows.put(some, jax.device_get(stepped))
        return totals

    def _step(self, rows: Leaves, gradient: jax.Array) -> Leaves:
        return self._method().step_embeddings(rows, gradient)

    def compile(self) -> None:
        """Start to compile what a round runs, if there is something."""
        if self._paths:
            like = tree.rows_like(self._initial.row, self._chunk)
            shapes = self._bench.abstract(({path: like[path] for path in self._paths}, like[EMBEDDING]))
            self._bench.programs.start("embeddings", self._step, *shapes)


class ComputedEmbeddings(Embeddings):
    """Computed from the clients' examples whenever they are asked for; the computation learns by rounds.

    `like`: those of a simulator with which to share programs.
    """

    def __init__(
        self,
        method: Callable[[], Method],
        initial: InitialState,
        bench: Workbench,
        like: Embeddings | None = None,
    ) -> None:
        self._clients = initial.num_clients
        about = method, initial.server.generator, initial.row[EMBEDDING], bench
        self._descriptions = Descriptions(*about, *(part.layout for part in like.parts) if like else ())
        self.parts = [self._descriptions]

    def rows(self, state: State, paths: list[str], round: int | None = None) -> Callable[[np.ndarray], Rows]:
        others = [path for path in paths if path != EMBEDDING]

        def take(ids: np.ndarray) -> Rows:
            computed = self._descriptions.of(state.generator, ids, round)
            return {**state.rows.take(ids, others), EMBEDDING: computed}

        return take

    def settle(self, state: State) -> None:
        everybody = self._descriptions.clients
        state.rows.put(everybody, {EMBEDDING: self._descriptions.of(state.generator, everybody)})

    def step(self, state: State, round: int, ids: np.ndarray, gradients: Gradients, totals: Any) -> Any:
        ids, cotangents = _of_clients(ids, gradients, self._clients)
        upload, generator = totals
        learns = self._descriptions.gradient(state.generator, ids, cotangents, round)
        return upload, {**generator, **learns}

    def compile(self) -> None:
        self._descriptions.compile()


def make_embeddings(
    method: Callable[[], Method], initial: InitialState, bench: Workbench, like: Embeddings | None
) -> Embeddings:
    """Those of the method, which shares programs with the simulator whose embeddings are `like`."""
    if method().description:
        return ComputedEmbeddings(method, initial, bench, like)
    return Embeddings(method, initial, bench)


def _of_clients(ids: np.ndarray, gradients: Gradients, clients: int) -> tuple[np.ndarray, np.ndarray]:
    """(ids [K], gradients [K, E]) where somebody sits."""
    sits = ids < clients
    return ids[sits], np.concatenate([wave[EMBEDDING] for wave in gradients])[sits]
