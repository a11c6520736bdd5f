"""The state before the first round: the server's part, and any client's row when it is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from fedtp_jax.core import tree
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.population import Population
from fedtp_jax.engine.programs import Programs
from fedtp_jax.learning.method import Method, State, own

CHUNK, CHUNK_BYTES = 1024, 64 * 2**20  # rows that are made at once: that many, or that many bytes of them


class InitialState:
    """Makes the initial state of N clients; a row is a function of the seed and its client's id alone.

    Args:
      method: whose state.
      num_clients: N.
      seed: the simulation's.
      programs: where it compiles.

    Attributes:
      server: shapes of the state without rows.
      row: {path: shape and dtype} of one client's row.
      own_row: the part of `row` that is the client's own, without the server's optimizer of its embedding.
      one_client: shapes of the state with one such row.
    """

    def __init__(self, method: Method, num_clients: int, seed: int, programs: Programs) -> None:
        self._method, self._programs, self._key = method, programs, jax.random.key(seed)
        self.num_clients = num_clients
        # so many as will be made at once, unless their rows are large: then JAX traces it once for both
        some = jax.ShapeDtypeStruct((min(num_clients, CHUNK),), np.int32)
        one = jax.eval_shape(method.init, self._key, some)
        self.server: State = one._replace(rows={})
        self.row: dict[str, Any] = {
            p: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for p, leaf in one.rows.items()
        }
        self.own_row = own(self.row)
        self.one_client = self.server._replace(rows=tree.rows_like(self.own_row, 1))
        fit = CHUNK_BYTES // max(tree.num_bytes(self.row), 1)
        self.chunk = max(1, min(num_clients, CHUNK, fit))

    def compile(self, put: Callable[[np.ndarray], Any] = jax.device_put) -> None:
        """Start to compile the programs, for the device on which `put` puts an array or its shape."""
        some = put(np.arange(self.chunk, dtype=np.int32))
        self._programs.start("init", self._method.init, self._key, some)
        if self.chunk < self.num_clients:
            self._programs.start("rows", self._make_rows, self._key, some)

    def state(self, where: Literal["memory", "disk"] = "memory", folder: Path | None = None) -> State:
        """The state before round 0; rows in memory, or on disk in `folder`."""
        first = jax.device_put(np.arange(self.chunk, dtype=np.int32))
        state: State = self._programs("init", self._method.init, self._key, first)
        rows = self.population(where, folder)
        if self.chunk == self.num_clients:  # a few clients' rows are there already
            rows.put(np.arange(self.num_clients), jax.device_get(state.rows))
        return state._replace(rows=rows)

    def population(
        self, where: Literal["memory", "disk"] = "memory", folder: Path | None = None
    ) -> Population:
        """The rows of all clients, none of them written yet."""
        return Population(self.num_clients, self.row, self._rows, where, folder)

    def _make_rows(self, key: jax.Array, ids: jax.Array) -> Leaves:
        """Nothing else of the state: the server's part may be large, and is not computed."""
        rows: Leaves = self._method.init(key, ids).rows
        return rows

    def _rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """{path: [K, ...]} of the clients `ids` [K], made in chunks of one size."""
        parts = []
        for first in range(0, len(ids), self.chunk):
            some = np.resize(ids[first : first + self.chunk], self.chunk).astype(np.int32)
            made = self._programs("rows", self._make_rows, self._key, jax.device_put(some))
            parts.append(jax.device_get(made))
        return {path: np.concatenate([part[path] for part in parts])[: len(ids)] for path in self.row}
