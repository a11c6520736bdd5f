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
from fedtp_jax.evaluation.measures import LOWER_IS_BETTER
from fedtp_jax.evaluation.parts import Part, Sizes
from fedtp_jax.learning.targets import Targets


class Score(NamedTuple):
    """Of one client's test examples, on the devices.

    measured: the sum of what the headline counts: how many labels are right, uint32, since float32 would
    count to 2^24, or of numbers their absolute errors; loss: the sum of the losses; parts: what further
    measures are made of, by name.
    """

    measured: jax.Array
    loss: jax.Array
    parts: Mapping[str, Part] = {}


class Scoring(NamedTuple):
    """How examples are scored: what they are to be given, and the parts that measures ask for."""

    targets: Targets
    sizes: Sizes = Sizes(0)
    kinds: tuple[type[Part], ...] = ()

    def zero(self) -> Score:
        """That of no example yet."""
        kind = jnp.float32 if self.targets.kind == "regression" else jnp.uint32
        parts = {part.__name__: part.zero(self.sizes) for part in self.kinds}
        return Score(jnp.zeros((), kind), jnp.zeros(()), parts)

    def add(self, score: Score, logits: jax.Array, batch: Batch) -> Score:
        """With one more batch, given its logits [B, ..., classes]."""
        real, kind = batch.mask > 0, score.measured.dtype
        measured = self.targets.measured(logits, batch.y).reshape(len(logits), -1).astype(kind)
        counted = jnp.where(real[:, None], measured, jnp.zeros((), kind))
        loss = self.targets.losses(logits, batch.y).reshape(len(logits), -1).mean(-1)
        return Score(
            score.measured + jnp.sum(counted, dtype=kind),
            score.loss + jnp.sum(jnp.where(real, loss, 0.0)),
            {name: part.add(*self._each_label(logits, batch)) for name, part in score.parts.items()},
        )

    def _each_label(self, logits: jax.Array, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(logits [n, C], labels [n, ...], which are real [n]) of a batch's n labels."""
        if self.targets.kind != "classification":
            return logits, batch.y, batch.mask > 0
        labels = batch.y.reshape(-1)
        real = jnp.repeat(batch.mask > 0, len(labels) // len(batch.mask))
        return logits.reshape(len(labels), -1), labels, real


class Sums(NamedTuple):
    """Of clients' test examples [N], float64: what is measured, the sum of their losses, their number.

    measured: how many are right; a window of text counts as one example, right by the share of its
    characters, an example with several labels by the share of these. Of numbers the sum of their absolute
    errors. `measures`: {name: values} of those beside the headline; counts: [C, C + 1] of labels by predicted
    classes, if one is made of them; headline: what is measured, "accuracy" or "mae".
    """

    measured: np.ndarray
    loss: np.ndarray
    examples: np.ndarray
    measures: Mapping[str, Values] = {}
    counts: np.ndarray | None = None
    headline: str = "accuracy"


class Statistics(NamedTuple):
    """Of a measure: of all examples, and over the clients for which it is defined; NaN where for none.

    worst_decile: mean of the worst tenth of these clients (rounded up), be they the lowest or the highest.
    """

    pooled: float
    client_mean: float
    client_std: float
    worst_decile: float


@dataclasses.dataclass(frozen=True)
class Tested:
    """One test of clients; its statistics are over those that hold test examples.

    Attributes:
      headline: what is measured: "accuracy", a fraction, or in regression "mae", mean absolute errors.
      pooled: over all test examples.
      client_mean, client_std: of the clients' own, each client counting once (population std).
      worst_decile: mean of the worst tenth of clients (rounded up).
      loss: by example.
      clients, clients_without_test: of those that are evaluated, how many counted, and how many hold no test
        examples; clients that are held out, or not in the sample, are in neither.
      clients_untrained: how many of those that counted have never trained.
      trained, untrained: as `pooled`, of those that have, and of the others, or NaN.
      measures: {name: statistics} of the measures beside the headline (evaluation.metrics).
      adapted: the same of the same clients after they have adapted; None without evaluation.adapt.
    """

    headline: str
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
    adapted: "Tested | None" = None


class Measured(NamedTuple):
    """One evaluation on the clients' test shards and, where that is asked for, on their other shards.

    attacked: {column: value} of what honest clients reach beside adversaries.
    """

    test: Tested
    validation: Tested | None
    fit: Tested | None = None
    attacked: Mapping[str, float] = {}

    def by(self, test: str) -> Tested | None:
        """What was measured by one of the further tests, adapted, val or fit."""
        return {"adapted": self.test.adapted, "val": self.validation, "fit": self.fit}[test]


def headline_of_clients(sums: Sums) -> np.ndarray:
    """[N] of the clients, NaN of those that were not tested (float64)."""
    measured, examples = np.asarray(sums.measured, np.float64), np.asarray(sums.examples, np.float64)
    return measured / np.where(examples > 0, examples, np.nan)


def summarize(sums: Sums, clients: Any = slice(None), trained: np.ndarray | None = None) -> Tested:
    """The statistics of per-client sums [N], over `clients`: ids, by default all (NumPy, float64).

    trained [N]: whether each client has; default: all have.
    """
    measured, loss, examples = (np.asarray(part, np.float64)[clients] for part in sums[:3])
    tested, has = examples > 0, np.ones(len(examples), bool) if trained is None else trained[clients]
    values = float(measured.sum() / examples.sum()), measured[tested] / examples[tested]
    return Tested(
        sums.headline,
        **_statistics(Values(*values, sums.headline not in LOWER_IS_BETTER))._asdict(),
        loss=float(loss.sum() / examples.sum()),
        clients=int(tested.sum()),
        clients_without_test=int((~tested).sum()),
        clients_untrained=int((tested & ~has).sum()),
        trained=_pooled(measured[has], examples[has]),
        untrained=_pooled(measured[~has], examples[~has]),
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
    with np.errstate(invalid="ignore"):  # errors without bound have no std
        return Statistics(values.pooled, float(each.mean()), float(each.std()), float(decile.mean()))


def _pooled(measured: np.ndarray, examples: np.ndarray) -> float:
    return float(measured.sum() / examples.sum()) if examples.any() else math.nan
