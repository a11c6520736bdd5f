"""What is measured of predictions: sums per client, and their statistics over clients."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedtp_jax.engine.lanes import Batch
from fedtp_jax.evaluation.collection import Values
from fedtp_jax.evaluation.parts import Part
from fedtp_jax.learning.task import cross_entropies


class Score(NamedTuple):
    """Of one client's test examples, on the devices: how many labels are right, the sum of the losses.

    `right` is uint32, since float32 would count to 2^24. `parts`: what further measures are made of, by name.
    """

    right: jax.Array
    loss: jax.Array
    parts: Mapping[str, Part] = {}

    @classmethod
    def zero(cls, parts: Mapping[str, Part] = {}) -> "Score":
        return cls(jnp.zeros((), jnp.uint32), jnp.zeros(()), parts)

    def add(self, logits: jax.Array, batch: Batch) -> "Score":
        """With one more batch, given its logits [B, ..., classes]."""
        losses = cross_entropies(logits, batch.y)
        right = (jnp.argmax(logits, -1) == batch.y) & jnp.isfinite(losses)  # argmax of NaNs is class 0
        right = right.reshape(len(logits), -1) & (batch.mask > 0)[:, None]
        loss = losses.reshape(len(logits), -1).mean(-1)
        return Score(
            self.right + jnp.sum(right, dtype=jnp.uint32),
            self.loss + jnp.sum(jnp.where(batch.mask > 0, loss, 0.0)),
            {name: part.add(*_each_label(logits, batch)) for name, part in self.parts.items()},
        )


def _each_label(logits: jax.Array, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(logits [n, C], labels [n], which are real [n]) of the n labels of a batch."""
    labels = batch.y.reshape(-1)
    real = jnp.repeat(batch.mask > 0, len(labels) // len(batch.mask))
    return logits.reshape(len(labels), -1), labels, real


class Sums(NamedTuple):
    """Of clients' test examples [N], float64: how many are right, the sum of their losses, their number.

    A window of text counts as one example, right by the share of its characters. `measures`: {name: values}
    of those beside accuracy; counts: [C, C + 1] of labels by predicted classes, if one is made of them.
    """

    correct: np.ndarray
    loss: np.ndarray
    examples: np.ndarray
    measures: Mapping[str, Values] = {}
    counts: np.ndarray | None = None


class Statistics(NamedTuple):
    """Of a measure: of all examples, and over the clients for which it is defined; NaN where for none.

    worst_decile: mean of the worst tenth of these clients (rounded up), be they the lowest or the highest.
    """

    pooled: float
    client_mean: float
    client_std: float
    worst_decile: float


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """One evaluation. Fractions; client statistics are over clients that hold test examples.

    Attributes:
      pooled: right predictions / test examples over all clients.
      client_mean, client_std: of the clients' accuracies, each client counting once (population std).
      worst_decile: mean accuracy of the worst tenth of clients (rounded up).
      loss: cross-entropy by example.
      clients, clients_without_test: of those that are evaluated, how many counted, and how many hold no test
        examples; clients that are held out, or not in the sample, are in neither.
      clients_untrained: how many of those that counted have never trained.
      trained, untrained: right predictions / test examples of those that have, and of the others, or NaN.
      measures: {name: statistics} of the measures beside accuracy (evaluation.metrics).
      adapted: the same of the same clients after they have adapted; None without evaluation.adapt.
    """

    pooled: float
    client_mean: float
    client_std: float
    worst_decile: float
    loss: float
    clients: int
    clients_without_test: int
    clients_untrained: int
    trained: float
    untrained: float
    measures: Mapping[str, Statistics] = dataclasses.field(default_factory=dict)
    adapted: "Accuracy | None" = None


class Measured(NamedTuple):
    """One evaluation on the clients' test shards and, where there are some, on their validation shards."""

    test: Accuracy
    validation: Accuracy | None


def accuracies(sums: Sums) -> np.ndarray:
    """[N] of the clients, NaN of those that were not tested (float64)."""
    correct, examples = np.asarray(sums.correct, np.float64), np.asarray(sums.examples, np.float64)
    return correct / np.where(examples > 0, examples, np.nan)


def summarize(sums: Sums, clients: Any = slice(None), trained: np.ndarray | None = None) -> Accuracy:
    """The statistics of per-client sums [N], over `clients`: ids, by default all (NumPy, float64).

    trained [N]: whether each client has; default: all have.
    """
    correct, loss, examples = (np.asarray(part, np.float64)[clients] for part in sums[:3])
    tested, has = examples > 0, np.ones(len(examples), bool) if trained is None else trained[clients]
    accuracy = _statistics(Values(float(correct.sum() / examples.sum()), correct[tested] / examples[tested]))
    return Accuracy(
        **accuracy._asdict(),
        loss=float(loss.sum() / examples.sum()),
        clients=int(tested.sum()),
        clients_without_test=int((~tested).sum()),
        clients_untrained=int((tested & ~has).sum()),
        trained=_pooled(correct[has], examples[has]),
        untrained=_pooled(correct[~has], examples[~has]),
        measures={
            name: _statistics(values._replace(clients=values.clients[clients]))
            for name, values in sums.measures.items()
        },
    )


def _statistics(values: Values) -> Statistics:
    """Of a measure whose `clients` [K] are those that count."""
    each = np.sort(values.clients[~np.isnan(values.clients)])
    if not len(each):
        return Statistics(values.pooled, *[math.nan] * 3)
    worst_first = each if values.higher_is_better else each[::-1]
    decile = worst_first[: -(-len(each) // 10)]
    return Statistics(values.pooled, float(each.mean()), float(each.std()), float(decile.mean()))


def _pooled(correct: np.ndarray, examples: np.ndarray) -> float:
    return float(correct.sum() / examples.sum()) if examples.any() else math.nan
