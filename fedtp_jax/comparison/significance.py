"""One column of a comparison: each row's mean ± std, the best, and which others are as good by a test."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fedtp_jax.comparison.compared_run import ComparedRun, measure_of
from fedtp_jax.comparison.sheet import Cell
from fedtp_jax.core.rounding import without_noise
from fedtp_jax.evaluation.measures import LOWER_IS_BETTER

LEVEL = 0.05
LAST = {"accuracy": "client_mean", "adapted_accuracy": "adapted_client_mean"}  # of the last evaluation


def judge(rows: Mapping[str, Sequence[ComparedRun]], metric: str) -> tuple[dict[str, Cell], dict[str, str]]:
    """(a cell per row, why a row could not be tested against the best).

    A row is tied with the best unless its clients fare worse and the test says that this is no accident, or
    it lies further behind than these clients: clients count once in the test, and by their examples in the
    table.
    """
    values = {row: np.array([o.measure(metric) for o in runs]) for row, runs in rows.items()}
    sign = -1 if measure_of(metric) in LOWER_IS_BETTER else 1
    best = max(values, key=lambda row: sign * values[row].mean())
    differences: dict[str, np.ndarray] = {}
    reasons: dict[str, str] = {}
    for row in values:
        if row != best:
            found = paired_differences(rows[best], rows[row], metric)
            if isinstance(found, str):
                reasons[row] = found
            else:
                differences[row] = sign * found
    p_values = holm({row: signed_rank(pairs) for row, pairs in differences.items()})
    cells = {}
    for row, of_seeds in values.items():
        p = p_values.get(row)
        tied = p is not None and (p >= LEVEL or differences[row].mean() <= 0)
        if tied:
            tied = sign * (values[best].mean() - of_seeds.mean()) <= _largest(differences[row])
        std = float(of_seeds.std(ddof=1)) if len(of_seeds) > 1 else float("nan")
        mean, top = float(of_seeds.mean()), bool(of_seeds.mean() == values[best].mean())
        cells[row] = Cell(mean, std, len(of_seeds), top, p, bool(tied and not top))
    return cells, reasons


def paired_differences(
    best: Sequence[ComparedRun], other: Sequence[ComparedRun], metric: str
) -> np.ndarray | str:
    """[pairs] what the best reaches less what the other does, client by client; or why there are no pairs.

    Client k of one partition is not client k of another: a pair is a client of one partition, its difference
    the mean over the seeds that share it. Figures are those of the evaluations that the table is of.
    """
    a, b = ({run.seed: run for run in part} for part in (best, other))
    seeds = sorted(a.keys() & b.keys())
    if not seeds:
        return "no seed in common with the best"
    of_partition: dict[str, list[pd.Series]] = {}
    values: list[np.ndarray] = []
    for seed in (seed for seed in seeds if a[seed].fingerprint == b[seed].fingerprint):
        # runs of version 0.1.0 have the last evaluation alone: both sides are of the same evaluations
        several = a[seed].has_means(metric) and b[seed].has_means(metric)
        basis = metric if several else LAST.get(metric, f"{metric}_client_mean")
        ours, theirs = (run[seed].client_accuracies(basis) for run in (a, b))
        of_partition.setdefault(a[seed].fingerprint, []).append(ours - theirs)
        values += [ours.to_numpy(float), theirs.to_numpy(float)]
    if not of_partition:
        return "other partition than the best's, so no client in common"
    means = [pd.concat(found, axis=1).mean(axis=1) for found in of_partition.values()]
    # rounded: what averaging adds to equal differences must not part them
    pairs = without_noise(pd.concat(means).dropna().to_numpy(float), *values)
    return pairs if len(pairs) else "no client that was tested in both"


def _largest(differences: np.ndarray) -> float:
    """How far apart two rows may be shown whose clients differ like this: mean and two standard errors."""
    error = differences.std(ddof=1) / np.sqrt(len(differences)) if len(differences) > 1 else np.inf
    return float(abs(differences.mean()) + 2 * error)


def signed_rank(differences: np.ndarray) -> float:
    """p of Wilcoxon's two-sided signed-rank test; 1 where nothing differs."""
    from scipy.stats import wilcoxon  # half a second, and only comparisons need it

    return float(wilcoxon(differences).pvalue) if differences.any() else 1.0


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The p-values corrected for their number after Holm (1979), so that one level holds for all."""
    corrected, largest = {}, 0.0
    for k, (name, p) in enumerate(sorted(p_values.items(), key=lambda pair: pair[1])):
        largest = max(largest, min(1.0, (len(p_values) - k) * p))
        corrected[name] = largest
    return corrected
