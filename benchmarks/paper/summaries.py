"""Pictures of what an experiment asks, made of its finished runs; differences are paired by seed."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedtp_jax.comparison.compare import Comparison
from fedtp_jax.comparison.compared_run import ComparedRun
from fedtp_jax.plots.style import (
    BLUE,
    CURVE,
    GREEN,
    INK,
    LEGEND,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    Picture,
    style,
)

WINDOWS = 100, 200, 500, 1000, 1500
COLOURS = BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY
PARTS = {
    "query/kernel": "query",
    "key/kernel": "key",
    "value/kernel": "value",
    "attention/out/": "attention's output",
    "mlp/": "MLP",
    "norm/": "norms",
    "patch_embedding/": "embeddings",
    "class_token": "embeddings",
    "position_embedding": "embeddings",
    "head/": "head",
    "block_": "whole encoder",
}
NOTHING = "nothing"


def gains(compared: Comparison) -> Figure:
    """How much a part that stays with the clients gives over FedAvg: a row per part, a column per alpha."""
    rows = []
    for outcome in _all(compared):
        method, alpha = outcome.config["method"], outcome.config["partition"]["alpha"]
        parts = dict.fromkeys(PARTS[part] for part in method.get("personal", ()))
        part = " + ".join(parts) or NOTHING
        rows.append((part, alpha, outcome.seed, 100 * outcome.measure("accuracy")))
    found = pd.DataFrame(rows, columns=["part", "alpha", "seed", "accuracy"])
    names = [name for name in found["part"].unique() if name != NOTHING]
    alphas = sorted(found["alpha"].unique(), reverse=True)
    by_seed = found.pivot_table(index=["part", "seed"], columns="alpha", values="accuracy")
    gain = by_seed.sub(by_seed.loc[NOTHING], level="seed").groupby("part")
    mean, std = (value.reindex(index=names, columns=alphas) for value in (gain.mean(), gain.std()))
    most = np.nanmax(np.abs(mean.to_numpy()))
    figure = Picture(figsize=(8.4, 0.46 * len(mean) + 1.3), layout="constrained")
    axes = figure.subplots()
    axes.imshow(mean, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
    axes.set_title("Points of accuracy over FedAvg, by what stays with the clients", loc="left", fontsize=11)
    axes.set_xlabel("Dirichlet's alpha: clients differ more and more")
    axes.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axes.set_yticks(range(len(mean)), mean.index)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for (row, column), value in np.ndenumerate(mean.to_numpy()):
        colour = "white" if abs(value) > 0.6 * most else INK
        if np.isfinite(value):
            told = _points(value, float(std.to_numpy()[row, column]), 1)
            axes.text(column, row, told, ha="center", va="center", fontsize=9, color=colour)
    return figure


def levels(compared: Comparison) -> Figure:
    """A dot per method and seed, and their mean, best method first; a panel per column of the table."""
    columns, rows = compared.sheet.columns, compared.sheet.rows
    labels = {name: name.replace(", ", ",\n") for name in rows}
    lines = 1 + max(label.count("\n") for label in labels.values())
    height = (0.13 * lines + 0.12) * len(rows)
    figure = Picture(figsize=(11, height + 1.2), layout="constrained")
    for axes, column in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        reached = {
            name: [100 * outcome.measure("accuracy") for outcome in compared.outcomes[name, column]]
            for name in rows
            if (name, column) in compared.outcomes
        }
        names = sorted(reached, key=lambda name: np.mean(reached[name]))
        style(axes, column, "test accuracy (%)", "", grid="x")
        for k, name in enumerate(names):
            axes.plot(reached[name], [k] * len(reached[name]), "o", color=SKY, markersize=4)
            axes.plot(np.mean(reached[name]), k, "|", color=INK, markersize=11, markeredgewidth=2)
        axes.set_yticks(range(len(names)), [labels[name] for name in names])
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.locator_params("x", integer=True)
        axes.tick_params(axis="y", length=0, labelsize=8)
    return figure


def leads(compared: Comparison) -> Figure:
    """How far each method is ahead of vanilla (below 0: behind) at every evaluation."""
    figure = Picture(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots()
    style(axes, "Ahead of vanilla", "communication round", "points of accuracy")
    axes.axhline(0, color=INK, linewidth=1.2)
    others = [name for name in compared.sheet.rows if name != "vanilla"]
    (column,) = compared.sheet.columns
    for colour, name in _coloured(others):
        lead = lead_of(compared, name, "vanilla", column)
        _band(axes, lead.index.to_numpy(), lead, name, colour)
    least, most = np.nanpercentile([line.get_ydata() for line in axes.lines[1:]], (5, 100))
    axes.set_ylim(least - 1, most + 1)  # the first rounds are far below
    figure.legend(loc="outside lower center", ncols=len(others), **LEGEND)
    return figure


def lead_table(compared: Comparison, over: str) -> pd.DataFrame:
    """Mean lead ± sample std over seeds, in how many of them it is one, and when one last had none."""
    rows, several = [], len(compared.sheet.columns) > 1
    for column, name in itertools.product(compared.sheet.columns, compared.sheet.rows):
        if name == over or not {(name, column), (over, column)} <= {*compared.outcomes}:
            continue
        lead = lead_of(compared, name, over, column)
        row = {f"points ahead of {over} in rounds": f"{name}, {column}" if several else name}
        for start, end in itertools.pairwise((0, *WINDOWS)):
            row[f"{start + 1} to {end}"] = _told(lead[(lead.index > start) & (lead.index <= end)])
        behind = lead.index[(lead <= 0).any(axis="columns")]
        row["at the end"] = _told(lead.iloc[-1:])
        row["last round at which a seed is not ahead"] = str(behind.max()) if len(behind) else "none"
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.loc[:, (table != "").any()]


def _told(lead: pd.DataFrame) -> str:
    if lead.empty:
        return ""
    some = lead.mean()
    return f"{_points(some.mean(), some.std(), 2)} ({(some > 0).sum()} of {len(some)} seeds)"


def lead_of(compared: Comparison, name: str, over: str, column: str) -> pd.DataFrame:
    """[evaluations, seeds] points by which `name` is ahead of `over`; the index is the round."""
    one, other = (
        pd.DataFrame(
            {o.seed: o.evaluated.set_index("round")["test_accuracy"] for o in compared.outcomes[row, column]}
        )
        for row in (name, over)
    )
    return (100 * (one - other)).dropna(axis="columns", how="all")


def by_clients(compared: Comparison) -> Figure:
    """Accuracy by the number of clients: same data in all hands, as much for each, and Adam on the server."""
    rows = []
    for (name, _), outcomes in compared.outcomes.items():
        for outcome in outcomes:
            given = outcome.config["partition"]["clients"]
            clients = given - outcome.config["training"]["held_out"]
            server = outcome.config["server"]["optimizer"]["name"]
            rows.append((name, clients, given, server, outcome.seed, 100 * outcome.measure("accuracy")))
    found = pd.DataFrame(rows, columns=["method", "clients", "given", "server", "seed", "accuracy"])
    share, averaged = found["clients"] / found["given"], found["server"] == "sgd"
    most = found["given"].max()
    parts = {
        "The same data in more and more hands": found[averaged & (share == share.max())],
        f"A {most:,}th of the data for each": found[averaged & (found["given"] == most)],
        "The same, with Adam on the server": found[~averaged],
    }
    figure = Picture(figsize=(13, 4.6), layout="constrained")
    panels = figure.subplots(1, len(parts), sharey=True)
    for axes, (title, part) in zip(panels, parts.items(), strict=True):
        style(axes, title, "clients", "test accuracy (%)" if axes is panels[0] else "")
        wide = part.pivot_table(index=["method", "clients"], columns="seed", values="accuracy")
        for colour, name in _coloured([*found["method"].unique()]):
            if name in wide.index:
                _band(axes, wide.loc[name].index.to_numpy(), wide.loc[name], name, colour)
        ticks = sorted(part["clients"].unique())
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, **LEGEND)
    return figure


def _coloured(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each name with its colour; there are no more names than colours."""
    return zip(COLOURS[: len(names)], names, strict=True)


def _all(compared: Comparison) -> list[ComparedRun]:
    return [outcome for outcomes in compared.outcomes.values() for outcome in outcomes]


def _points(mean: float, std: float, digits: int) -> str:
    """The std of a single seed is left out."""
    return f"{mean:+.{digits}f}" + f" ± {std:.{digits}f}" * bool(np.isfinite(std))


def _band(axes: Axes, x: Any, by_seed: pd.DataFrame, name: str, colour: str) -> None:
    """Mean over seeds, the columns, and one sample std around it."""
    mean, std = by_seed.mean(axis="columns"), by_seed.std(axis="columns").fillna(0)
    axes.fill_between(x, mean - std, mean + std, alpha=0.18, lw=0, color=colour)
    axes.plot(x, mean, label=name, color=colour, marker="o", **CURVE)
