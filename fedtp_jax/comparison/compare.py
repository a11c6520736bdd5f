"""compare(runs) -> Comparison: mean ± std over seeds, the best marked, and what is as good as the best."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from fedtp_jax.comparison.compared_run import (
    ComparedRun,
    Finished,
    column_of,
    measure_of,
    run_folders,
)
from fedtp_jax.comparison.crosstab import CrossTab, Place
from fedtp_jax.comparison.notes import excluded, facts, test_notes, unknown
from fedtp_jax.comparison.sheet import Cell, Sheet
from fedtp_jax.comparison.significance import judge
from fedtp_jax.comparison.time_to_accuracy import check_timed, time_to_accuracy
from fedtp_jax.config.metrics import HEADLINES, NOT_SHARES, TIME_TO_ACCURACY, columns_of
from fedtp_jax.core.errors import UserError, nearest, user_path
from fedtp_jax.evaluation.measures import TITLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = {  # what they are called
    "accuracy": "Test accuracy",
    "client_mean": "Mean of the clients' test accuracies",
    "worst_decile": "Mean test accuracy of the worst tenth of clients",
}
for _name, _title in {**TITLES, "mae": "Mean absolute error"}.items():
    METRICS |= {
        _name: _title,
        f"{_name}_client_mean": f"{_title}, mean of the clients",
        f"{_name}_worst_decile": f"{_title}, mean of the worst tenth of clients",
    }
METRICS |= {f"adapted_{name}": f"{title}, adapted" for name, title in METRICS.items()}
METRICS[TIME_TO_ACCURACY] = "Seconds of virtual time until a target is reached"
Runs = Finished | ComparedRun | str | Path | Iterable["Runs"]


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Runs beside each other; print it, or ask for a format.

    Attributes:
      metric: a key of METRICS, such as "accuracy".
      sheet: the table: rows, columns, {(row, column): Cell}, notes.
      table: the same in long form, a row per cell: the fields that differ, mean and sample std over seeds
        (accuracies as fractions), seeds, best, p_value (NaN: no test), tied (not significantly worse than
        the best).
      outcomes: {(row, column): the runs of the cell}.
    """

    metric: str
    sheet: Sheet
    table: pd.DataFrame
    outcomes: Mapping[Place, Sequence[ComparedRun]]

    def __str__(self) -> str:
        return self.sheet.text().rstrip()

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def to_markdown(self) -> str:
        """A Markdown table in percent, with notes."""
        return self.sheet.markdown()

    def to_latex(self) -> str:
        """A LaTeX tabular in percent, with booktabs' rules."""
        return self.sheet.latex()

    def to_csv(self) -> str:
        """`table` with all digits."""
        return self.table.to_csv(index=False, lineterminator="\n")

    def to_html(self) -> str:
        """A page to explore: the table, curves that its rows switch on and off, the clients."""
        from fedtp_jax.comparison.explored import explored_page  # matplotlib: not before it is needed

        return explored_page(self.sheet, self.outcomes, self.metric, METRICS, self.plot())

    def plot(self) -> "Figure":
        """Learning curves: a panel per column, a colour per row, mean and a band of one std over seeds.

        Over the rounds; of time-to-accuracy over virtual time, in the mean of the seeds.
        """
        from fedtp_jax.plots.curves import COLUMNS, compared_curves  # matplotlib: not before it is needed

        timed, metric = self.metric == TIME_TO_ACCURACY, self.metric
        if timed:
            metric = next(iter(self.outcomes.values()))[0].headline
        over: Literal["rounds", "time"] = "time" if timed else "rounds"
        title, column = METRICS[metric], column_of(metric)
        panels: dict[str, dict[str, pd.DataFrame]] = {name: {} for name in self.sheet.columns}
        for (row, panel), compared in self.outcomes.items():
            of_rounds = pd.concat([run.evaluated.set_index("round", drop=False) for run in compared])
            by_round = of_rounds.groupby(level=0)
            panels[panel][row] = (
                by_round[column].agg(["mean", "std"]).assign(x=by_round[COLUMNS[over]].mean())
            )
        share = measure_of(metric) not in NOT_SHARES
        ylabel = f"{title[0].lower()}{title[1:]}{' (%)' * share}"
        return compared_curves(panels, self.sheet.rows, ylabel, self.sheet.corner, share, over)


def compare(
    runs: Runs | Mapping[str, Runs], metric: str | None = None, target: float | None = None
) -> Comparison:
    """Compare runs: rows are methods, columns the other fields in which they differ.

    Runs that differ in their seed alone are one cell. Options of the method, and fields that never vary
    within a row, belong to the row's name. Runs that are not finished are left out, and named in a note.

    Args:
      runs: results, folders (of a run, of some seeds, of a sweep), or lists of these; or {name: of these},
        where the names are the rows.
      metric: "accuracy" (the default): of all test examples, mean over the last evaluations; "client_mean"
        or "worst_decile" of the last evaluation. "mae" (the default in regression), "mae_client_mean" and
        so on, "f1_macro" and so on: the same of measures of evaluation.metrics. "adapted_accuracy" and so
        on: after the clients have adapted (evaluation.adapt). Never of the best round. "time_to_accuracy":
        seconds of the virtual clock (training.clock) until the first evaluation that reaches `target`.
      target: accuracy of all test examples (in regression mae) for that, the metric where there is a target;
        default: in each column the best that all runs reach.

    Raises:
      UserError: there is no finished run, clients of one do not adapt, or something else is given.
    """
    if metric is not None and metric not in METRICS:
        raise UserError(
            f"metric: got {metric!r}{nearest(str(metric), METRICS)}; choose one of accuracy, client_mean, "
            "worst_decile (in regression mae, mae_client_mean, mae_worst_decile), the same of a measure in "
            "evaluation.metrics (f1_macro, f1_macro_client_mean, "
            "f1_macro_worst_decile), one of these after adapted_, or time_to_accuracy"
        )
    if target is not None and metric not in (None, TIME_TO_ACCURACY):
        raise UserError(f"target: got {target}, but metric {metric!r} has none; leave one of them out")
    named = runs if isinstance(runs, Mapping) else {None: runs}
    found = [(name, run) for name, inner in named.items() for run in _compared_runs(inner)]
    if not found:
        raise UserError("runs: got none; give results, or folders of runs")
    finished, unfinished = _finished(found)
    compared = [run for _, run in finished]
    metric = metric or (_headline(compared) if target is None else TIME_TO_ACCURACY)
    layout = CrossTab(finished, metric.replace("_", " "))
    if metric == TIME_TO_ACCURACY:
        check_timed(compared, target)
        cells, notes = time_to_accuracy(layout, target)
    else:
        cells, notes = _judged(layout, metric, compared)
    notes += [*unfinished, *excluded(compared), *unknown(compared), *layout.alike]
    if layout.twins:
        notes.append(f"Left out, there twice: {'; '.join(layout.twins)}.")
    numbers = {place: dataclasses.asdict(cell) for place, cell in cells.items()}
    of = measure_of(metric)
    in_percent = "" if of in (*NOT_SHARES, TIME_TO_ACCURACY) else " in percent"
    names = layout.corner, layout.rows, layout.columns
    sheet = Sheet(f"{METRICS[metric]}{in_percent}.", *names, cells, notes, of)
    return Comparison(metric, sheet, pd.DataFrame(layout.long_form(numbers)), layout.cells)


def _judged(
    layout: CrossTab, metric: str, runs: Sequence[ComparedRun]
) -> tuple[dict[Place, Cell], list[str]]:
    """(the cells of a metric that runs have measured, notes)."""
    for run in runs:
        if column_of(metric) not in run.evaluated:
            raise _not_measured(metric, run)
    cells: dict[Place, Cell] = {}
    untested: dict[str, list[str]] = {}
    for column in layout.columns:
        inner = {row: layout.cells[row, column] for row in layout.rows if (row, column) in layout.cells}
        judged, reasons = judge(inner, metric)
        cells |= {(row, column): cell for row, cell in judged.items()}
        for row, reason in reasons.items():
            untested.setdefault(reason, []).append(f"{row} ({column})" if len(layout.columns) > 1 else row)
    return cells, [*facts(layout, cells, metric), *test_notes(cells, untested, metric, runs)]


def _headline(runs: Sequence[ComparedRun]) -> str:
    """The measure that all of them have; UserError where some solve another task."""
    measured = {run.headline: run.where for run in runs}
    if len(measured) > 1:
        some = ", ".join(f"{where} measured {measure}" for measure, where in measured.items())
        raise UserError(f"runs: {some}; compare those of one kind of task")
    return next(iter(measured))


def _not_measured(metric: str, run: ComparedRun) -> UserError:
    headline, measure = run.headline, measure_of(metric)
    adapts = f"adapted_{headline}" in run.evaluated
    others = " or ".join(
        ", ".join([name for name in columns_of(headline) if "std" not in name]).rsplit(", ", 1)
    )
    if metric.startswith("adapted_") and not adapts:
        what, how = f"the clients of {run.where} did not adapt", "run it with evaluation.adapt.epochs, "
    elif measure in HEADLINES.values():
        what, how = f"{run.where} is of another kind of task and did not measure {measure}", ""
    else:
        what = f"{run.where} did not measure {measure}"
        how = f"run it with evaluation.metrics=[{measure}], "
    return UserError(f"metric: {metric!r}, but {what}; {how}leave it out, or choose {others}")


def _compared_runs(runs: Any) -> list[ComparedRun]:
    """All that results, folders, and lists of these hold."""
    if isinstance(runs, ComparedRun):
        return [runs]
    if isinstance(runs, Finished):
        return [ComparedRun.of(runs)]
    if isinstance(runs, str | Path):
        return [ComparedRun.read(folder) for folder in run_folders(user_path(runs))]
    if isinstance(runs, Iterable) and not isinstance(runs, Mapping | bytes):
        return [run for inner in runs for run in _compared_runs(inner)]
    raise UserError(
        f"runs: got a {type(runs).__name__}, expected results, folders of runs, or lists of these"
    )


def _finished(found: list[tuple[Any, ComparedRun]]) -> tuple[list[tuple[Any, ComparedRun]], list[str]]:
    """(the runs that are finished, each folder once; notes that name the others, and those cut short)."""
    once: dict[Any, tuple[Any, ComparedRun]] = {}
    for name, run in found:
        same = run.folder.resolve() if run.folder else id(run)
        once.setdefault((name, same), (name, run))
    left = [
        f"{run.where} ({run.rounds} of {run.planned} rounds)" for _, run in once.values() if not run.finished
    ]
    finished = [pair for pair in once.values() if pair[1].finished]
    if not finished:
        raise UserError(
            f"runs: none is finished yet: {'; '.join(left)}; go on with fedtp resume, or fedtp sweep"
        )
    short = [
        f"{run.where} ({run.rounds} of {run.planned} rounds)"
        for _, run in finished
        if run.rounds < run.planned
    ]
    told = {"Left out, not finished": left, "Ended early": short}
    return finished, [f"{what}: {'; '.join(names)}." for what, names in told.items() if names]
