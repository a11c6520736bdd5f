"""The state before the first round: the server's part, and any client's row when it is asked for."""

from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from fedtp_jax import tree
from fedtp_jax.methods.base import Method, State
from fedtp_jax.population import Population
from fedtp_jax.programs import Programs

CHUNK, CHUNK_BYTES = 1024, 64 * 2**20  # rows that are made at once: that many, or that many bytes of them


class Initial:
    """Makes the initial state of N clients; a row is a function of the seed and its client's id alone.

    Args:
      method: whose state.
      num_clients: N.
      seed: the simulation's.
      programs: where the one program is compiled that makes the server's part and rows.

    Attributes:
      server: shapes of the state without rows.
      row: {path: shape and dtype} of one client's row.
    """

    def __init__(self, method: Method, num_clients: int, seed: int, programs: Programs) -> None:
        self._method, self._programs, self._key = method, programs, jax.random.key(seed)
        self.num_clients = num_clients
        one = jax.eval_shape(method.init, self._key, jax.ShapeDtypeStruct((1,), np.int32))
        self.server: State = one._replace(rows={})
        self.row: dict[str, Any] = {
            p: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for p, leaf in one.rows.items()
        }
        fit = CHUNK_BYTES // max(tree.num_bytes(self.row), 1)
        self.chunk = max(1, min(num_clients, CHUNK, fit))

    def compile(self) -> None:
        """Start to compile the program."""
        self._programs.start("init", self._method.init, self._key, np.zeros(self.chunk, np.int32))

    def state(self, where: Literal["memory", "disk"] = "memory", folder: Path | None = None) -> State:
        """The state before round 0; rows in memory, or on disk in `folder`."""
        server = self._run(np.zeros(0, np.int32))
        return server._replace(rows=self.population(where, folder))

    def population(
        self, where: Literal["memory", "disk"] = "memory", folder: Path | None = None
    ) -> Population:
        """The rows of all clients, none of them written yet."""
        return Population(self.num_clients, self.row, self._rows, where, folder)

    def _rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        parts = [
            jax.device_get(self._run(ids[first : first + self.chunk]).rows)
            for first in range(0, len(ids), self.chunk)
        ]
        whole = {path: np.concatenate([part[path] for part in parts]) for path in self.row}
        return {path: leaf[: len(ids)] for path, leaf in whole.items()}

    def _run(self, ids: np.ndarray) -> State:
        """The state with the rows of `ids` and, up to the size of a chunk, of others."""
        padded = np.resize(ids, self.chunk) if len(ids) else np.zeros(self.chunk)
        some = jax.device_put(padded.astype(np.int32))
        state: State = self._programs("init", self._method.init, self._key, some)
        return state
