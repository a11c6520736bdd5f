"""What the waves of an evaluation bring of its measures' parts, made values on the host."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fedtp_jax.evaluation.measures import Measure
from fedtp_jax.evaluation.parts import Confusion, Predictions
from fedtp_jax.learning.targets import Targets


def probabilities_of(logits: np.ndarray) -> np.ndarray:
    """softmax(logits) [..., C] in float64, which tells apart what float32 would round to 1."""
    logits = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # what is not finite gives NaN
        exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(-1, keepdims=True))


def scores_of(targets: Targets, logits: np.ndarray) -> np.ndarray:
    """What measures are given of predictions [..., C]: probabilities, or numbers as the data have them."""
    if targets.kind == "regression":
        return logits.astype(np.float64) * targets.std + targets.mean
    if targets.kind == "multilabel":
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))
    return probabilities_of(logits)


class Values(NamedTuple):
    """Of a measure: of all examples together, and of each client's [N], NaN where it is not defined."""

    pooled: float
    clients: np.ndarray
    higher_is_better: bool = True


class Collection:
    """What an evaluation's waves bring, made values of wave by wave: of predictions alone all are kept.

    Args:
      measures: {name: measure}.
      clients: N.
      targets: what labels say.
      labels_of: gives those of a client [M, ...] as the data have them, in the order of its examples.
    """

    def __init__(
        self,
        measures: Mapping[str, Measure],
        clients: int,
        targets: Targets,
        labels_of: Callable[[int], np.ndarray],
    ) -> None:
        self._measures, self._num_clients = measures, clients
        self._targets, self._labels_of = targets, labels_of
        self._clients = {name: np.full(clients, np.nan) for name in measures}
        self._sums: dict[str, Any] = {}
        self._predicted: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def add(self, ids: np.ndarray, parts: Mapping[str, Any]) -> None:
        """With the parts [K, ...] of the clients `ids` [K]; an id of N is nobody's."""
        sits = ids < self._num_clients
        ids, parts = ids[sits], {k: type(part)(*(leaf[sits] for leaf in part)) for k, part in parts.items()}
        for kind, part in parts.items():
            if isinstance(part, Predictions):
                for client, count, labels, logits in zip(ids.tolist(), *part, strict=True):
                    kept = labels[:count].copy()
                    if self._targets.kind == "regression":  # what float32 has rounded
                        kept = self._labels_of(client)
                    self._predicted[client] = kept, logits[:count].copy()
            else:
                sums = type(part)(*(leaf.sum(0, dtype=_wide(leaf)) for leaf in part))
                before = self._sums.get(kind)
                added = map(np.add, before, sums) if before else sums
                self._sums[kind] = type(part)(*added)
        for name, measure in self._measures.items():
            if measure.needs is Predictions:
                each = [self._of_predictions(measure, *self._predicted[k]) for k in ids.tolist()]
                self._clients[name][ids] = each
            else:
                self._clients[name][ids] = measure.of(parts[measure.needs.__name__])

    def values(self) -> dict[str, Values]:
        """{name: its values}."""
        return {
            name: Values(self._pooled(measure), self._clients[name], measure.higher_is_better)
            for name, measure in self._measures.items()
        }

    @property
    def counts(self) -> np.ndarray | None:
        """[C, C + 1] of labels by predicted classes of all clients, if a measure is made of them."""
        return self._sums[Confusion.__name__].counts if Confusion.__name__ in self._sums else None

    def _pooled(self, measure: Measure) -> float:
        if measure.needs is not Predictions:
            return float(measure.of(self._sums[measure.needs.__name__])) if self._sums else np.nan
        if not self._predicted:
            return np.nan
        return self._of_predictions(measure, *_joined(self._predicted[k] for k in sorted(self._predicted)))

    def _of_predictions(self, measure: Measure, labels: np.ndarray, logits: np.ndarray) -> float:
        """NaN of no example, and of what is not finite: no function is asked about these."""
        if not len(labels) or not np.isfinite(logits).all():
            return np.nan
        whole = labels.copy() if self._targets.kind == "regression" else labels.astype(np.int32)
        return float(measure.of(whole, scores_of(self._targets, logits)))  # a function may alter what is its


def _joined(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    labels, logits = zip(*pairs, strict=True)
    return np.concatenate(labels), np.concatenate(logits)


def _wide(leaf: np.ndarray) -> type:
    return np.float64 if leaf.dtype.kind == "f" else np.uint64
