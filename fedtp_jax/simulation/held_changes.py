"""The changes of a round's cohort one by one, on the host, and what the server's rule makes of them."""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from fedtp_jax.aggregation.changes_apart import CHANGE, WEIGHT
from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.mesh import AXIS
from fedtp_jax.engine.workbench import Workbench
from fedtp_jax.learning.method import Apart, Method, Upload
from fedtp_jax.learning.task import STATISTICS
from fedtp_jax.simulation.participation import Participation
from fedtp_jax.uploads.transform import parted
from fedtp_jax.uploads.whole_change import HYPERNETWORK

NUMBERS = 2**22  # of all clients' changes that are on the devices at once
USED = 0.9  # of the host's memory


class HeldChanges:
    """Of a simulation whose server needs each client's change; of any other nothing happens here.

    Columns of the changes [K, P] come to the devices chunk by chunk, each split over them, so that only the
    host holds a whole cohort.

    Args:
      method: gives the method.
      bench: the devices.
      participation: how many clients come.
      generator: {path: where that leaf of the hypernetwork lies}.
    """

    def __init__(
        self,
        method: Callable[[], Method],
        bench: Workbench,
        participation: Participation,
        generator: Mapping[str, Any],
    ) -> None:
        self._method, self._bench, self._generator = method, bench, generator
        self._usual, self._most = participation.usual, participation.most
        self._columns = NamedSharding(bench.mesh, P(None, AXIS))
        self._ids: list[np.ndarray] = []
        self._rows: list[np.ndarray] = []
        self._weights: list[np.ndarray] = []
        if method().apart:
            self._check()

    @property
    def row_bytes(self) -> int:
        """Of one client's change."""
        apart = self._method().apart
        return tree.num_bytes(apart.like) if apart else 0

    @property
    def num_bytes(self) -> int:
        """Of a cohort's changes on the host: as they came, and in order."""
        return 2 * self._usual * self.row_bytes

    def _check(self) -> None:
        """Raise UserError where the host cannot hold a cohort."""
        if not hasattr(os, "sysconf"):  # on Windows
            return
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if self.num_bytes > USED * memory:
            raise UserError(
                f"server.aggregation: needs the changes of {self._usual:,} clients at once, "
                f"{self.num_bytes / 2**30:.1f} GiB, but the host has {memory / 2**30:.1f} GiB; use a smaller "
                "training.cohort_size, or upload=clip, which needs only their sum"
            )

    def taken(self, ids: np.ndarray, rows: Leaves) -> Leaves:
        """The rows [D * C, ...] of a wave without what is held of the clients `ids`; others' ids are N."""
        if not self._method().apart:
            return rows
        there = np.flatnonzero(ids < self._bench.num_clients)
        self._ids.append(ids[there])
        self._rows.append(np.asarray(rows[CHANGE])[there])
        self._weights.append(np.asarray(rows[WEIGHT])[there])
        return {path: row for path, row in rows.items() if path not in (CHANGE, WEIGHT)}

    def combined(self, totals: tuple[Upload, Leaves]) -> tuple[Upload, Leaves]:
        """In place of a round's sums: (one change of the shared leaves, gradient of the hypernetwork)."""
        apart = self._method().apart
        if not apart:
            return totals
        # in order of their ids, so that sums do not depend on lanes and waves
        order = np.argsort(np.concatenate(self._ids))
        n = len(order)
        size = min(self._most, self._usual * math.ceil(n / self._usual))
        changes = np.zeros((size, self._width(apart)), np.float32)
        rows = [row for wave in self._rows for row in wave]
        for place, k in enumerate(order):
            changes[place] = rows[k]
        weights = np.zeros(size, np.float32)
        weights[:n] = np.concatenate(self._weights)[order]
        self._ids, self._rows, self._weights = [], [], []
        entries = parted(self._made_of(apart, changes, weights, n), apart.like)
        begin = len(HYPERNETWORK)
        gradient = {p[begin:]: leaf for p, leaf in entries.items() if p.startswith(HYPERNETWORK)}
        shared = {p: leaf for p, leaf in entries.items() if not p.startswith(HYPERNETWORK)}
        upload = Upload(*self._bench.replicate((shared, np.ones((), np.float32))))
        return upload, self._bench.put(self._generator, gradient)

    def _made_of(self, apart: Apart, changes: np.ndarray, weights: np.ndarray, n: int) -> np.ndarray:
        """[P] that the rule makes of changes [K, P], of which the first n are there."""
        programs, replicate = self._bench.programs, self._bench.replicate
        count = replicate(np.int32(n))
        if apart.rule.entries:
            parts = [programs("entries", self._entries, c, count) for c in self._chunks(changes)]
        else:
            distances = replicate(np.zeros((len(changes), len(changes)), np.float32))
            # running statistics, of other units, come first: their paths are the first in sorted order
            first = sum(leaf.size for path, leaf in apart.like.items() if path.startswith(STATISTICS))
            for chunk in self._chunks(changes[:, first:]):
                distances = programs("distances", self._distances, distances, chunk, count, donate=(0,))
            shares = programs("shares", self._shares, distances, replicate(weights), count)
            parts = [programs("weighted", self._weighted, c, shares) for c in self._chunks(changes)]
        return np.concatenate([self._bench.fetch(part)() for part in parts])[: changes.shape[1]]

    def _chunks(self, changes: np.ndarray) -> Iterator[Any]:
        """Columns of the changes on the devices, as many each time, zeros behind the last."""
        devices, width = self._bench.mesh.size, changes.shape[1]
        columns = min(max(NUMBERS // len(changes), 1), width)
        columns = math.ceil(columns / devices) * devices
        for first in range(0, width, columns):
            part = changes[:, first : first + columns]
            chunk = np.pad(part, ((0, 0), (0, columns - part.shape[1])))
            yield self._bench.put(self._columns, chunk)

    @staticmethod
    def _width(apart: Apart) -> int:
        return sum(leaf.size for leaf in apart.like.values())

    def _entries(self, changes: jax.Array, n: jax.Array) -> jax.Array:
        apart = self._method().apart
        assert apart and apart.rule.entries, "asked for where there is one"
        return apart.rule.entries(changes, n)

    def _distances(self, before: jax.Array, changes: jax.Array, n: jax.Array) -> jax.Array:
        """[K, K] of the columns until now, squared.

        Of differences: by products a client far away would leave nothing of the others' distances.
        """
        there = jnp.arange(len(changes)) < n
        found = jax.lax.map(lambda one: ((changes - one) ** 2).sum(1), changes)
        return before + jnp.where(there[:, None] & there[None, :], found, 0.0)

    def _shares(self, distances: jax.Array, weights: jax.Array, n: jax.Array) -> jax.Array:
        apart = self._method().apart
        assert apart and apart.rule.weights, "asked for where there is one"
        return apart.rule.weights(distances, weights, n)

    def _weighted(self, changes: jax.Array, shares: jax.Array) -> jax.Array:
        return jnp.matmul(shares, changes, precision="highest")
