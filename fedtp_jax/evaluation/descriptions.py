"""Clients' embeddings that are computed from their train examples, and what that computation learns by."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedtp_jax.core import rng, tree
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.engine.schedule import Batches, Layout, split_batches, steps_of
from fedtp_jax.engine.waves import Prepared, Wave
from fedtp_jax.engine.workbench import Workbench, make_facts
from fedtp_jax.learning.method import DESCRIPTOR, EMBEDDING, Description, Method

Describe = Callable[[Leaves, Batch], jax.Array]


def description_work(describe: Describe, size: int) -> ClientWork:
    """Keeps the sum of what each example adds to its client's embedding, {EMBEDDING: [size]}."""

    def start(phi: Leaves, row: Row, key: jax.Array) -> jax.Array:
        return jnp.zeros(size)

    def step(phi: Leaves, row: Row, carry: jax.Array, batch: Batch, key: jax.Array) -> jax.Array:
        return carry + jnp.where(batch.mask[:, None] > 0, describe(phi, batch), 0.0).sum(0)

    def finish(phi: Leaves, row: Row, carry: jax.Array) -> tuple[None, Leaves]:
        return None, {EMBEDDING: carry}

    return ClientWork(start, step, finish)


def gradient_work(describe: Describe) -> ClientWork:
    """Sums J^T c over clients and their examples: J of `describe` in phi, c [size] the client's row."""

    def start(phi: Leaves, row: Row, key: jax.Array) -> Leaves:
        return jax.tree.map(jnp.zeros_like, phi)

    def step(phi: Leaves, row: Row, carry: Leaves, batch: Batch, key: jax.Array) -> Leaves:
        def along(phi: Leaves) -> jax.Array:
            parts = describe(phi, batch) @ row.leaves[EMBEDDING]
            return jnp.where(batch.mask > 0, parts, 0.0).sum()

        return tree.add(carry, jax.grad(along)(phi))

    def finish(phi: Leaves, row: Row, carry: Leaves) -> tuple[Leaves, None]:
        return carry, None

    return ClientWork(start, step, finish)


class Descriptions:
    """The embeddings of N clients by `Method.description`: in a round of some batches, else of all examples.

    Args:
      method: gives the method.
      phi: the hypernetwork's leaves, or their shapes.
      like: an embedding's shape and dtype.
      bench: the devices and the examples.
      layout: of another one with which to share programs.

    Attributes:
      clients: ids, ascending, of those that have train examples; others have no embedding.
    """

    def __init__(
        self,
        method: Callable[[], Method],
        phi: Leaves,
        like: Any,
        bench: Workbench,
        layout: Layout | None = None,
    ) -> None:
        self._method, self._bench = method, bench
        self._phi = bench.abstract(_of_descriptor(phi))
        self._batches, self._sizes = self._description.batches, bench.partition.train.sizes
        (self._size,) = like.shape
        self.clients, bytes_of_row = np.flatnonzero(self._sizes), tree.num_bytes(like)
        batch = min(bench.config.training.batch_size, int(self._sizes.max()))
        steps, count = steps_of(self._sizes[self.clients], batch), len(self.clients)
        self._wave_size = bench.wave_size(count, bytes_of_row)
        self.layout = bench.plan(steps, count, batch, bytes_of_row, self._of_program, layout)
        self._of: Leaves = {}  # what the embeddings that are known are of, until the next round
        self._known, self._embeddings = np.zeros(0, bool), np.zeros(0)

    def of(self, phi: Leaves, ids: np.ndarray, round: int | None = None) -> np.ndarray:
        """[K, E]: embeddings of the clients `ids` [K] by the hypernetwork phi; an id of N gives zeros.

        `round`: from this round's examples; None: from all, which is remembered as long as phi is the same.
        """
        clients = self._bench.num_clients
        if phi is not self._of or round is not None:
            self._of = phi if round is None else {}
            self._known = np.zeros(clients, bool)
            self._embeddings = np.zeros((clients, self._size), np.float32)
        there = np.intersect1d(ids, self.clients)
        mine = _of_descriptor(phi)

        def describe(rows: Leaves, wave: Wave) -> Any:
            return self._bench.programs("describe", self._describe, mine, rows, wave, *self._common)

        waves = self._waves(there[~self._known[there]], round)
        for prepared, kept in self._bench.over_waves(describe, waves, lambda ids: {}):
            sits = prepared.ids < clients
            found = prepared.ids[sits]
            self._embeddings[found] = kept[EMBEDDING][sits] / self._examples(found, round)[:, None]
            self._known[found] = True
        embeddings = self._embeddings.take(ids, axis=0, mode="clip")
        return np.where((ids < clients)[:, None], embeddings, np.float32(0.0))

    def gradient(self, phi: Leaves, ids: np.ndarray, cotangents: np.ndarray, round: int) -> Leaves:
        """{path: leaf} of the descriptor: sum_k J_k^T c_k over clients `ids` [K] with cotangents [K, E]."""
        bench, total = self._bench, None
        each = np.zeros((bench.num_clients + 1, self._size), np.float32)
        each[ids] = cotangents / self._examples(ids, round)[:, None]
        mine = _of_descriptor(phi)

        def gradient(rows: Leaves, wave: Wave) -> Any:
            nonlocal total
            part = bench.programs("describe backwards", self._gradient, mine, rows, wave, *self._common)
            total = part if total is None else tree.add(total, part)

        for _ in bench.over_waves(gradient, self._waves(ids, round), lambda ids: {EMBEDDING: each[ids]}):
            pass
        assert total is not None, "asked for where a client returned"
        return total

    def _examples(self, ids: np.ndarray, round: int | None) -> np.ndarray:
        """[K] how many examples describe each client."""
        return np.minimum(self._sizes[ids], self._most(round)).astype(np.float32)

    def _most(self, round: int | None) -> int:
        """Examples of a client at most: those of some batches in a round."""
        if round is None or self._batches is None:
            return int(self._sizes.max())
        return self._batches * self.layout.batch

    def _waves(self, ids: np.ndarray, round: int | None) -> Iterator[Prepared]:
        for first in range(0, len(ids), self._wave_size):
            some = ids[first : first + self._wave_size]
            batches = [self._of_client(int(k), round) for k in some]
            facts = make_facts(some, batches, noise=self._bench.noise(some))
            yield self._bench.prepare(some, batches, facts, self.layout)

    def _of_client(self, client: int, round: int | None) -> Batches:
        """Its examples, of a round in an order of their own."""
        shard = self._bench.train_positions(client)
        if round is not None:
            draw = rng.generator(self._bench.config.seed, rng.Purpose.DESCRIPTION, round, client)
            shard = draw.permutation(shard)
        return split_batches(shard[: self._most(round)], self.layout.batch)

    # -------------------------------------------------------------------------------------- the programs

    @property
    def _description(self) -> Description:
        description = self._method().description
        assert description, "asked for where there is one"
        return description

    @property
    def _common(self) -> tuple[Any, jax.Array]:
        return self._bench.examples, rng.key(self._bench.config.seed, rng.Purpose.DESCRIPTION)

    def _describe(self, phi: Leaves, rows: Leaves, wave: Wave, examples: Any, key: jax.Array) -> Leaves:
        work = description_work(self._description.parts, self._size)
        kept: Leaves = self._bench.run(work, wave, examples, phi, rows, key, steady=True)[1]
        return kept

    def _gradient(self, phi: Leaves, rows: Leaves, wave: Wave, examples: Any, key: jax.Array) -> Leaves:
        work = gradient_work(self._description.parts)
        total: Leaves = self._bench.run(work, wave, examples, phi, rows, key, steady=True)[0]
        return total

    def compile(self) -> None:
        """Start to compile what describes, and the gradient of it."""
        self._of_program(self._bench.programs.start, self.layout)
        slots, wave = self.layout.devices * self.layout.slots, self._bench.abstract_wave(self.layout)
        row = {EMBEDDING: jax.ShapeDtypeStruct((slots, self._size), np.float32)}
        shapes = self._phi, self._bench.abstract_rows(row), wave, self._bench.examples, jax.random.key(0)
        self._bench.programs.start("describe backwards", self._gradient, *shapes)

    def _of_program(self, what: Callable[..., Any], layout: Layout) -> Any:
        """What of the programs is asked, of the one that describes with this layout."""
        wave = self._bench.abstract_wave(layout)
        return what("describe", self._describe, self._phi, {}, wave, self._bench.examples, jax.random.key(0))


def _of_descriptor(phi: Leaves) -> Leaves:
    return {path: leaf for path, leaf in phi.items() if path.startswith(DESCRIPTOR)}
