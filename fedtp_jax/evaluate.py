"""Every client on its own whole test shard, with the variables it would run, through the lane engine."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fedtp_jax.engine import Batch, ClientWork
from fedtp_jax.methods.base import Method, Row
from fedtp_jax.tree import Leaves


class Sums(NamedTuple):
    """Of one client's test examples: how many are right, the sum of their losses, their number."""

    correct: jax.Array
    loss: jax.Array
    examples: jax.Array


def evaluation_work(method: Method) -> ClientWork:
    """Count right predictions; keeps Sums per client, sums nothing."""

    def start(shared: Leaves, row: Row, key: jax.Array) -> tuple[Leaves, Sums]:
        return row.leaves, Sums(jnp.zeros(()), jnp.zeros(()), jnp.zeros(()))

    def step(shared: Leaves, carry: tuple[Leaves, Sums], batch: Batch, key: jax.Array) -> tuple[Leaves, Sums]:
        own, sums = carry
        logits = method.predict({**shared, **own}, batch.x)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.y)
        right = (jnp.argmax(logits, -1) == batch.y) & jnp.isfinite(losses)  # argmax of NaNs is class 0
        new = Sums(
            jnp.sum(jnp.where(right, batch.mask, 0.0)), jnp.sum(losses * batch.mask), jnp.sum(batch.mask)
        )
        return own, jax.tree.map(jnp.add, sums, new)

    def finish(shared: Leaves, carry: tuple[Leaves, Sums], row: Row) -> tuple[None, Sums]:
        return None, carry[1]

    return ClientWork(start, step, finish)


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """One evaluation. Fractions; client statistics are over clients that hold test examples.

    Attributes:
      pooled: right predictions / test examples over all clients.
      client_mean, client_std: of the clients' accuracies, each client counting once (population std).
      worst_decile: mean accuracy of the worst tenth of clients (rounded up).
      loss: cross-entropy by example.
      clients, clients_without_test: how many counted and how many could not be.
    """

    pooled: float
    client_mean: float
    client_std: float
    worst_decile: float
    loss: float
    clients: int
    clients_without_test: int


def summarize(sums: Sums) -> Accuracy:
    """The statistics of per-client sums [N] (NumPy, float64)."""
    correct, loss, examples = (np.asarray(part, np.float64) for part in sums)
    tested = examples > 0
    each = np.sort(correct[tested] / examples[tested])
    decile = each[: -(-len(each) // 10)]
    return Accuracy(
        pooled=float(correct.sum() / examples.sum()),
        client_mean=float(each.mean()),
        client_std=float(each.std()),
        worst_decile=float(decile.mean()),
        loss=float(loss.sum() / examples.sum()),
        clients=int(tested.sum()),
        clients_without_test=int((~tested).sum()),
    )
