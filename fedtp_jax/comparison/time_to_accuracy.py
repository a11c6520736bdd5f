"""Time-to-accuracy: seconds of the virtual clock until runs reach a target (Oort, arXiv 2010.06081)."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fedtp_jax.comparison.compared_run import ComparedRun
from fedtp_jax.comparison.crosstab import CrossTab, Place
from fedtp_jax.comparison.sheet import Cell
from fedtp_jax.config.convert import show
from fedtp_jax.config.metrics import TIME_TO_ACCURACY, WORDS, shown
from fedtp_jax.core.errors import UserError
from fedtp_jax.evaluation.measures import LOWER_IS_BETTER


def check_timed(runs: Sequence[ComparedRun], target: float | None) -> None:
    """Raise UserError for runs without a clock, of another kind of task, or a target that is none."""
    measure = runs[0].headline
    for run in runs:
        if "virtual_time" not in run.evaluated:
            raise UserError(
                f"metric: {TIME_TO_ACCURACY!r}, but {run.where} has no clock; run it with "
                "training.clock.speed, or choose another metric"
            )
        if run.headline != measure:
            raise UserError(
                f"runs: {run.where} measured {run.headline}, {runs[0].where} {measure}; compare those of one "
                "kind of task"
            )
    if target is None:
        return
    is_number = isinstance(target, int | float) and not isinstance(target, bool)
    if not is_number or not 0 < target <= (1 if measure == "accuracy" else math.inf):
        expected = "an accuracy up to 1, such as 0.8" if measure == "accuracy" else "a number above 0"
        raise UserError(f"target: got {show(target)}, expected {expected}")


def time_to_accuracy(layout: CrossTab, target: float | None) -> tuple[dict[Place, Cell], list[str]]:
    """({place: cell of seconds} where all of its seeds reach `target`, notes).

    What counts is the first evaluation at which all test examples together reach it. Default: in each column
    the best that all of its runs reach.
    """
    cells: dict[Place, Cell] = {}
    targets, missed = list[str](), list[str]()
    for column in layout.columns:
        rows = {row: layout.cells[row, column] for row in layout.rows if (row, column) in layout.cells}
        wanted = _best_of_all(rows) if target is None else target
        seconds = {row: np.array([_until(run, wanted) for run in runs]) for row, runs in rows.items()}
        cells |= {(row, column): cell for row, cell in _cells(seconds).items()}
        where = f" ({column})" if len(layout.columns) > 1 else ""
        targets.append(f"{_in_words(next(iter(rows.values()))[0].headline, wanted)}{where}")
        missed += [
            f"{row}{where}, {np.isinf(times).sum()} of {len(times)} seeds"
            for row, times in seconds.items()
            if np.isinf(times).any()
        ]
    which = ", the best that all runs reach" if target is None else ""
    spread = "; mean ± sample std over seeds" if any(cell.seeds > 1 for cell in cells.values()) else ""
    notes = [f"Target: {'; '.join(dict.fromkeys(targets))}{which}, at a run's first such evaluation{spread}."]
    return cells, notes + ([f"Not reached: {'; '.join(missed)}."] if missed else [])


def _sign(measure: str) -> int:
    return -1 if measure in LOWER_IS_BETTER else 1


def _best_of_all(rows: Mapping[str, Sequence[ComparedRun]]) -> float:
    """What every run reaches at some evaluation."""
    runs = [run for several in rows.values() for run in several]
    sign = _sign(runs[0].headline)
    return float(sign * min((sign * run.evaluated[f"test_{run.headline}"]).max() for run in runs))


def _until(run: ComparedRun, target: float) -> float:
    """Seconds until the first evaluation that reaches the target, infinite if none does."""
    sign = _sign(run.headline)
    there = run.evaluated[sign * run.evaluated[f"test_{run.headline}"] >= sign * target]
    return math.inf if there.empty else float(there["virtual_time"].iloc[0])


def _cells(seconds: Mapping[str, np.ndarray]) -> dict[str, Cell]:
    """A cell for each row all of whose seeds [S] get there, the fastest marked as the best."""
    there = {row: times for row, times in seconds.items() if np.isfinite(times).all()}
    fastest = min((times.mean() for times in there.values()), default=math.inf)
    return {
        row: Cell(
            float(times.mean()),
            float(times.std(ddof=1)) if len(times) > 1 else math.nan,
            len(times),
            best=bool(times.mean() == fastest),
        )
        for row, times in there.items()
    }


def _in_words(measure: str, target: float) -> str:
    return f"a test {WORDS[measure]} of {shown(measure, target)}{' %' * (measure == 'accuracy')}"
