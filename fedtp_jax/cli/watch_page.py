"""The page of `fedtp watch --page`: what the terminal would show, and the learning curves."""

import datetime
from html import escape
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from fedtp_jax.cli.output import write_output
from fedtp_jax.cli.watch_words import board_of, lines_of, sum_of, title_of
from fedtp_jax.config.metrics import NOT_SHARES, measure_of
from fedtp_jax.pages import page
from fedtp_jax.plots.curves import compared_curves, learning_curves
from fedtp_jax.results.explored import CURVES
from fedtp_jax.results.report import EVALUATIONS
from fedtp_jax.runs.watched import Watched
from fedtp_jax.sweeps.watched_runs import WatchedRuns

RELOADED = 5  # seconds between two times that a browser reads it
MOST_CURVES = 28  # more cannot be told apart (plots.style.line_looks)
COMPARED = "Mean over the seeds that were evaluated in a round; the band is one standard deviation."


def write_page(path: Path, seen: WatchedRuns) -> None:
    """Write it whole or not at all; it reloads itself while a process is at work."""
    now = datetime.datetime.now().isoformat(" ", "seconds")
    refresh = RELOADED if seen.goes_on else None
    if seen.single:
        run = seen.runs[0]
        lines = [line for line in lines_of(run) if line[0] != "note"]
        head = page.pairs([*lines, ("as of", now)], "headline")
        html = page.html(title_of(run), head, _sections(run), run.notes, refresh)
    else:
        head = page.pairs([("state", sum_of(seen)), ("as of", now)], "headline")
        rows = board_of(seen)
        board = page.grid([*rows[0]], [[escape(cell) for cell in row.values()] for row in rows], "board")
        curves = _compared(seen)
        sections = {"Runs": board} | ({"Learning curves": curves} if curves else {})
        notes = [f"{run.folder.relative_to(seen.folder)}: {note}" for run in seen.runs for note in run.notes]
        html = page.html(str(seen.folder), head, sections, notes, refresh)
    write_output("--page", path, html)


def _sections(run: Watched) -> dict[str, str]:
    if not len(run.history):
        return {}
    last = run.evaluated.tail(EVALUATIONS).drop(columns="excluded_clients")
    return {
        "Learning curves": page.picture(learning_curves(run.history), CURVES),
        f"Last {EVALUATIONS} evaluations": page.table(last, "No evaluation yet."),
    }


def _compared(seen: WatchedRuns) -> str:
    """The curves of all combinations, each the mean over its seeds; "" where there are none, or too many."""
    groups: dict[str, list[pd.DataFrame]] = {}
    for run in seen.runs:
        if seen.column in run.evaluated:
            groups.setdefault(_combination(run, seen), []).append(run.evaluated)
    if not 0 < len(groups) <= MOST_CURVES:
        return ""
    return page.picture(_figure(groups, seen.column), COMPARED)


def _combination(run: Watched, seen: WatchedRuns) -> str:
    """What a curve is called: the folder of its seeds, or its own."""
    folder = run.folder.parent if run.folder.name.startswith("seed-") else run.folder
    return str(folder.relative_to(seen.folder)) if folder != seen.folder else title_of(run)


def _figure(groups: dict[str, list[pd.DataFrame]], column: str) -> Figure:
    curves = {}
    for name, runs in groups.items():
        values = pd.concat(runs).groupby("round")[column].agg(["mean", "std"])
        curves[name] = values.reset_index(names="x")
    measure = measure_of(column.partition("_")[2])
    share = measure not in (*NOT_SHARES, "loss")
    label = column.replace("_", " ") + " (%)" * share
    return compared_curves({"": curves}, [*curves], label, "", share)
