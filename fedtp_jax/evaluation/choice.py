"""What validation shards choose: the best round, and when no better one is waited for; never test shards.

Functions of the history alone, so that a resumed run chooses as one that was never stopped.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fedtp_jax.config.metrics import measure_of
from fedtp_jax.evaluation.measures import LOWER_IS_BETTER


def goodness(metric: str, value: float) -> float:
    """A number that is larger for a better value of the metric; -inf for one that is not finite."""
    if not math.isfinite(value):
        return -math.inf
    return -value if measure_of(metric.removeprefix("val_")) in LOWER_IS_BETTER else value


def best_evaluation(history: Iterable[Mapping[Any, Any]], metric: str) -> tuple[int, int] | None:
    """(round, evaluations after it) of the best evaluation, the first of equal ones; None before any.

    `history`: rows of metrics.csv, or of `Result.history`.
    """
    rounds, values = [], []
    for row in history:
        if row["clients_tested"] is not None and not math.isnan(row["clients_tested"]):
            rounds.append(int(row["round"]))
            values.append(goodness(metric, row[metric]))
    if not rounds:
        return None
    best = int(np.argmax(values))
    return rounds[best], len(rounds) - 1 - best
