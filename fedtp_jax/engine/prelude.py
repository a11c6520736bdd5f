"""Steps of another kind that clients do before their local ones, where a method asks for some."""

from typing import Any, NamedTuple

import numpy as np

from fedtp_jax.engine.schedule import Batches, join_batches, shuffled_batches, steps_of


class Prelude(NamedTuple):
    """`passes` over a random `share` of the client's shard, of one example at least.

    Lanes are busy with these steps, whose numbers are below 0, and occupancy counts them. Nothing else does:
    local steps are as many as without; a straggler does its whole prelude and less of its local steps; the
    examples and the loss of a round are those of the local steps.
    """

    passes: int = 0
    share: float = 1.0

    def steps(self, sizes: Any, batch: int) -> Any:
        """How many, for shards of these sizes; number or array."""
        return self.passes * steps_of(self._of_shard(sizes), batch)

    def examples(self, sizes: Any) -> Any:
        """How many they are of, for shards of these sizes; number or array."""
        return self.passes * self._of_shard(sizes)

    def and_local_steps(
        self, shard: np.ndarray, epochs: int, batch: int, rng: np.random.Generator, steps: int
    ) -> Batches:
        """The prelude, and what `shuffled_batches` gives for these arguments."""
        if not self.passes:
            return shuffled_batches(shard, epochs, batch, rng, steps)
        some = rng.permutation(shard)[: self._of_shard(len(shard))]
        own = shuffled_batches(some, self.passes, batch, rng)
        local = shuffled_batches(shard, epochs, batch, rng, steps)
        positions, valid, *_ = join_batches([own, local])
        return Batches(positions, valid, local.last_pass, len(own.valid))

    def _of_shard(self, sizes: Any) -> Any:
        return np.ceil(self.share * sizes - 1e-9).astype(np.int64)
