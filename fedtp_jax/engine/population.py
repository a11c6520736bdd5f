"""What there is of every client between rounds: its row, on the host, in memory or in a file mapped into it.

Only the rows of the clients at work are ever on the devices. A row that was never written is the client's
initial one, a function of the seed and the client's id alone: it takes no memory and is not saved. So a
million clients cost what the clients that have trained cost.
"""

import math
import mmap
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

T = TypeVar("T")
Rows = dict[str, np.ndarray]
HAS_TRAINED = "client/has_trained"  # of a leaf that is told, not kept: 1.0 where the client has


class Population:
    """Rows of N clients: a row of a client is one value for each of some leaves.

    Args:
      clients: N.
      shapes: {path: shape and dtype} of one client's row; HAS_TRAINED is made of `trained`.
      initial: ids [K] -> {path: [K, ...]}: rows of clients that were never written.
      where: "memory", or "disk": files in `folder` (default: the system's for temporary files) that vanish
        with the process.

    Attributes:
      trained: [N] rounds from which each client returned finite numbers.
    """

    def __init__(
        self,
        clients: int,
        shapes: Mapping[str, Any],
        initial: Callable[[np.ndarray], Mapping[str, np.ndarray]],
        where: Literal["memory", "disk"] = "memory",
        folder: Path | None = None,
    ) -> None:
        self.clients, self._initial = clients, initial
        self.trained = np.zeros(clients, np.int32)
        self.written = np.zeros(clients, bool)
        self._rows: Rows = {}
        self._tells = HAS_TRAINED in shapes
        for path, like in kept(shapes).items():
            shape = (clients, *like.shape)
            if where == "disk":
                with tempfile.TemporaryFile(dir=folder, prefix="fedtp-rows-") as file:
                    self._rows[path] = np.memmap(file, like.dtype, "w+", shape=shape)
            else:
                self._rows[path] = _zeros(shape, like.dtype)

    @property
    def paths(self) -> list[str]:
        """Of the leaves that a row holds."""
        return [*self._rows, *[HAS_TRAINED] * self._tells]

    @property
    def written_ids(self) -> np.ndarray:
        """Ids, ascending, of the clients whose rows were written."""
        return np.flatnonzero(self.written)

    def take(self, ids: Sequence[int] | np.ndarray, paths: list[str] | None = None) -> Rows:
        """{path: [K, ...]} of the clients `ids` [K]; of all leaves, or of `paths`. An id of N gives zeros."""
        ids = np.asarray(ids, np.int64)
        paths = self.paths if paths is None else paths
        there = ids < self.clients
        known = there.copy()
        known[there] = self.written[ids[there]]
        rows = {
            path: self._rows[path].take(ids, axis=0, mode="clip") for path in paths if path != HAS_TRAINED
        }
        if HAS_TRAINED in paths:
            rows[HAS_TRAINED] = (self.trained.take(ids, mode="clip") > 0).astype(np.float32)
        new = there & ~known
        if paths and new.any():
            for path, leaf in kept(self._initial(ids[new])).items():
                if path in rows:
                    rows[path][new] = leaf
        return rows

    def put(self, ids: np.ndarray, rows: Mapping[str, np.ndarray]) -> None:
        """Write {path: [K, ...]} of the clients `ids` [K]; ids of N are passed over.

        Leaves that are not given stay what they were.
        """
        there = np.flatnonzero(ids < self.clients)
        ids = ids[there]
        rows = kept(rows)
        left_out = [path for path in self._rows if path not in rows]
        new = ids[~self.written[ids]]
        if left_out and len(new):
            for path, leaf in self.take(new, left_out).items():
                self._rows[path][new] = leaf
        for path, leaf in rows.items():
            self._rows[path][ids] = leaf[there]
        if self._rows:
            self.written[ids] = True

    def mean(self, ids: np.ndarray, chunk: int = 1024) -> Rows:
        """{path: leaf}: the mean row of the clients `ids`, summed in float64."""
        total: dict[str, Any] = dict.fromkeys(self.paths, 0.0)
        for first in range(0, len(ids), chunk):
            for path, leaf in self.take(ids[first : first + chunk]).items():
                total[path] = total[path] + leaf.sum(axis=0, dtype=np.float64)
        return {p: (sums / len(ids)).astype(self._rows[p].dtype) for p, sums in kept(total).items()}


def kept(row: Mapping[str, T]) -> dict[str, T]:
    """What is kept of a row."""
    return {path: leaf for path, leaf in row.items() if path != HAS_TRAINED}


def _zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros that take memory page by page, as they are written: a huge page would bring hundreds of rows."""
    count = math.prod(shape)
    if not count:
        return np.zeros(shape, dtype)
    if not hasattr(mmap, "MAP_PRIVATE"):  # Windows has no huge pages unless asked for
        return np.zeros(shape, dtype)
    memory = mmap.mmap(-1, count * np.dtype(dtype).itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, dtype).reshape(shape)
