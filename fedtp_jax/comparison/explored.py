"""A comparison as a page to explore: its table, whose rows switch curves on and off, and the clients."""

from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd
from matplotlib.figure import Figure

from fedtp_jax.comparison.compared_run import ComparedRun, column_of
from fedtp_jax.comparison.crosstab import Place
from fedtp_jax.comparison.sheet import Sheet
from fedtp_jax.config.metrics import NOT_SHARES, TIME_TO_ACCURACY
from fedtp_jax.core.counted import count_of
from fedtp_jax.pages import charts, explore, page
from fedtp_jax.pages.charts import Axis

MOST_CLIENTS = 1000  # rows of their table
LOSS = "Test loss"
CURVES = (
    "Mean over the seeds that were evaluated in a round; the band is one standard deviation. Untick rows of "
    "the table to hide their curves."
)


Outcomes = Mapping[Place, Sequence[ComparedRun]]


def explored_page(
    sheet: Sheet, outcomes: Outcomes, metric: str, titles: Mapping[str, str], static: Figure
) -> str:
    """The whole page as HTML.

    Args:
      sheet, outcomes, metric: as a `Comparison` has them.
      titles: {metric: what it is called}.
      static: the curves where no script runs.
    """
    looks = charts.looks(sheet.rows)
    lines = [
        [f"{explore.sign(*looks[row])} {escape(row)}", *texts]
        for row, texts in zip(sheet.rows, sheet.lines("<b>{}</b>"), strict=True)
    ]
    names = [sheet.corner or "run", *sheet.columns]
    table = explore.table(names, lines, "shown", sheet.rows, ticked=True, left=[0])
    notes = "".join(f"<li>{escape(note)}</li>" for note in [sheet.title, *sheet.notes])
    every = [run for runs in outcomes.values() for run in runs]
    drawn = _curves(sheet, outcomes, _measured(every, metric, titles), metric == TIME_TO_ACCURACY)
    sections = {
        escape(titles[metric]): f"{table}<ul class='quiet'>{notes}</ul>",
        "Learning curves": drawn + explore.instead(page.picture(static, CURVES)),
        "Clients": _clients(sheet, outcomes),
    }
    title = f"{count_of(len(every), 'run')} compared"
    return page.html(title, "", {name: html for name, html in sections.items() if html}, explored=True)


def _measured(every: Sequence[ComparedRun], metric: str, titles: Mapping[str, str]) -> dict[str, str]:
    """{what it is called: its column} of what all runs measured; first what is compared."""
    columns = {LOSS: "test_loss"} | {title: column_of(name) for name, title in titles.items()}
    found = {
        title: column
        for title, column in columns.items()
        if all(column in run.evaluated for run in every)
        and any(run.evaluated[column].notna().any() for run in every)
    }
    first = metric if column_of(metric) in every[0].evaluated else every[0].headline
    return {titles[first]: column_of(first), **found}


def _curves(sheet: Sheet, outcomes: Outcomes, columns: Mapping[str, str], timed_first: bool) -> str:
    """A chart for each column of the sheet, and what to choose from."""
    x = {"round": Axis("communication round")}
    if all("virtual_time" in run.history for runs in outcomes.values() for run in runs):
        x["virtual_time"] = Axis("virtual time (s)")
    if timed_first:
        x = dict(reversed(x.items()))
    controls = explore.choice("measure", "shown:", [(title, title) for title in columns])
    if len(x) > 1:
        axes = [(column, axis.title) for column, axis in x.items()]
        controls += explore.choice("over", "over", axes)
    drawn, looks = [], charts.looks(sheet.rows)
    for panel in sheet.columns:
        given = [
            ({"series": row, "measure": title}, _mean(runs, column, [*x]))
            for (row, of), runs in outcomes.items()
            if of == panel
            for title, column in columns.items()
        ]
        title = panel if len(sheet.columns) > 1 else ""
        chart = charts.curves(given, x, Axis("value"), looks, next(iter(columns)), title)
        drawn.append(explore.figure(chart, "", ""))
    return f"{controls}<div class='beside'>{''.join(drawn)}</div><p class='explored quiet'>{CURVES}</p>"


def _mean(runs: Sequence[ComparedRun], column: str, x: Sequence[str]) -> pd.DataFrame:
    """A row a round in which some seed was evaluated: place on each axis, mean, band of one std."""
    unit = 100 if column in page.FRACTIONS else 1
    by_round = pd.concat([run.evaluated for run in runs]).groupby("round", as_index=False)
    means = by_round[[column, *(name for name in x if name != "round")]].mean()
    std = by_round[column].std()[column] * unit
    value = means[column] * unit
    made = means[[*x]].assign(value=value)
    return made if len(runs) == 1 else made.assign(low=value - std, high=value + std)


def _clients(sheet: Sheet, outcomes: Outcomes) -> str:
    """What each client reaches in each cell, where the clients of all runs are the same; else ""."""
    every = [run for runs in outcomes.values() for run in runs]
    if len({run.fingerprint for run in every}) > 1:
        return ""
    metric, several = every[0].headline, len(sheet.columns) > 1
    unit = 1 if metric in NOT_SHARES else 100
    cells = {
        f"{row}, {column}" if several else row: pd.concat(
            [run.client_accuracies(metric) for run in runs], axis=1
        ).mean(axis=1)
        for (row, column), runs in outcomes.items()
    }
    every_client = (unit * pd.DataFrame(cells)).dropna(how="all")
    table = every_client.head(MOST_CLIENTS)
    more = ""
    if len(every_client) > len(table):
        more = f" The first {MOST_CLIENTS:,} of {len(every_client):,}; clients.csv of each run has all."
    rows = [
        [str(int(client)), *("&ndash;" if pd.isna(v) else f"{v:.4g}" for v in values)]
        for client, *values in table.itertuples()
    ]
    what = "Accuracies in percent" if unit == 100 else "Mean absolute errors"
    words = f"<p>{what} by client, mean over the seeds: all runs have the same clients.{more}</p>"
    return words + explore.table(["client", *table], rows)
