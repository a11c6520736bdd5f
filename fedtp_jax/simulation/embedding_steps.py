"""The server's steps on the clients' embeddings, which lie on the host like all rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from fedtp_jax.core import tree
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.population import Population
from fedtp_jax.engine.workbench import Workbench
from fedtp_jax.learning.method import EMBEDDING, OPTIMIZER, Method
from fedtp_jax.simulation.initial_state import InitialState

DENSE_UP_TO = 10_000  # clients, by `embedding_update: auto`


class EmbeddingSteps:
    """Steps after each round, for all clients (dense) or for the cohort (sparse).

    Args:
      method: gives the method whose `step_embeddings` is run.
      initial: tells of the rows.
      bench: the devices.
    """

    def __init__(self, method: Callable[[], Method], initial: InitialState, bench: Workbench) -> None:
        self._method, self._bench, self._clients = method, bench, initial.num_clients
        self._paths = [p for p in initial.row if p == EMBEDDING or p.startswith(OPTIMIZER)]
        self._initial, self._chunk = initial, initial.chunk
        if self._paths:
            update = method().hypernetwork.embedding_update
            self.dense = update == "dense" or (update == "auto" and self._clients <= DENSE_UP_TO)

    def step(
        self, rows: Population, ids: np.ndarray, gradients: Sequence[Mapping[str, Any]], weight: float
    ) -> None:
        """One step along each client's gradient / weight: `gradients` of the waves with these ids in turn."""
        if not self._paths:
            return
        gradient = np.concatenate([wave[EMBEDDING] for wave in gradients])
        sits = ids < self._clients
        ids, gradient = ids[sits], gradient[sits] / np.float32(weight)
        if self.dense:
            whole = np.zeros((self._clients, gradient.shape[1]), np.float32)
            whole[ids] = gradient
            ids, gradient = np.arange(self._clients), whole
        for first in range(0, len(ids), self._chunk):
            part = slice(first, first + self._chunk)
            missing = self._chunk - len(ids[part])
            some = np.pad(ids[part], (0, missing), constant_values=self._clients)
            along = np.pad(gradient[part], ((0, missing), (0, 0)))
            taken = self._bench.replicate((rows.take(some, self._paths), along))
            stepped = self._bench.programs("embeddings", self._step, *taken)
            rows.put(some, jax.device_get(stepped))

    def _step(self, rows: Leaves, gradient: jax.Array) -> Leaves:
        return self._method().step_embeddings(rows, gradient)

    def compile(self) -> None:
        """Start to compile the program, if there is one."""
        if self._paths:
            like = tree.rows_like(self._initial.row, self._chunk)
            shapes = self._bench.abstract(({path: like[path] for path in self._paths}, like[EMBEDDING]))
            self._bench.programs.start("embeddings", self._step, *shapes)
