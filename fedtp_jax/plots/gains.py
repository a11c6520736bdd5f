"""Who gains and who loses between two runs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fedtp_jax.core.client_names import IN_PICTURES, called
from fedtp_jax.core.rounding import without_noise
from fedtp_jax.plots.style import AXIS, BLUE, GRID, INK, LEGEND, QUIET, THOUSANDS, VERMILION, Picture, style

CHANGE = {"accuracy": "change in accuracy (points)", "mae": "less mean absolute error"}
MOST_LISTED = 10  # of those that lose most
MOST_LABELLED = 30  # clients whose bars have labels


def gains(
    own: np.ndarray,
    other: np.ndarray,
    name: str,
    other_name: str,
    clients: Sequence[str] = (),
    measure: str = "accuracy",
) -> Figure:
    """How much better each client fares than in another run, sorted; beside it who loses most and whence.

    Args:
      own, other: [N] fractions, or errors of the measure "mae", NaN for clients that were not tested.
      name, other_name: of the two runs.
      clients: [N] names, or none.
    """
    share = measure == "accuracy"
    own, other = (100 * own, 100 * other) if share else (own, other)
    ids = np.flatnonzero(np.isfinite(own) & np.isfinite(other))
    # rounded: what a mean over evaluations adds to equal accuracies is no loss
    change = without_noise((own - other if share else other - own)[ids], own[ids], other[ids])
    order = np.argsort(change, kind="stable")
    ids, change = ids[order], change[order]
    lose, win = int((change < 0).sum()), int((change > 0).sum())
    counts = f"{win:,} gain, {lose:,} lose, {len(ids) - lose - win:,} equal"
    if missing := len(own) - len(ids):
        counts += f" (not tested in both: {missing:,})"
    labels = [called(int(client), clients, IN_PICTURES) for client in ids[: max(MOST_LISTED, MOST_LABELLED)]]
    named = len(clients) > 0 and len(ids) <= MOST_LABELLED
    figure = Picture(figsize=(10, 4.2 + 1.2 * named), layout="constrained")
    if lose:
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        worst = ids[: min(lose, MOST_LISTED)]
        _draw_losers(right, other[worst], own[worst], labels, measure)
        title = "Who loses" if lose <= MOST_LISTED else f"The {MOST_LISTED} who lose most"
        right.set_title(title, loc="left", fontsize=11)
        _explain(right, name, other_name)
    else:
        left = figure.subplots()
    style(left, f"{name} against {other_name}\n{counts}", "client, sorted", CHANGE[measure])
    _draw_changes(left, change, labels, named, share)
    return figure


def _draw_changes(axes: Axes, change: np.ndarray, labels: Sequence[str], named: bool, share: bool) -> None:
    """A bar per client, those who lose on the left in a colour of their own; sorted [N]."""
    count = len(change)
    few, edges = count <= MOST_LABELLED, np.arange(count + 1) - 0.5
    for mask, colour in ((change < 0, VERMILION), (change > 0, BLUE)):
        heights = np.where(mask, change, 0.0)
        if few:
            axes.bar(np.arange(count), heights, width=0.8, color=colour)
        else:
            axes.stairs(heights, edges, fill=True, facecolor=colour)
    first, last = np.searchsorted(change, 0, "left"), np.searchsorted(change, 0, "right")
    if last > first:  # no bar: a line says that somebody is there
        axes.plot([first - 0.5, last - 0.5], [0, 0], color=QUIET, linewidth=5, solid_capstyle="butt")
    axes.axhline(0, color=INK, linewidth=1)
    mean = float(change.mean()) if count else 0.0
    axes.axhline(
        mean,
        color=INK,
        ls="--",
        linewidth=1.5,
        label="mean: " + (f"{mean:+.1f} points" if share else f"{mean:+.3g}"),
    )
    if few:
        axes.set_xticks(range(count), labels, fontsize=8, rotation=90 if named else 0)
        for tick, value in zip(axes.get_xticklabels(), change, strict=True):
            tick.set_color(VERMILION if value < 0 else INK)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.xaxis.set_major_formatter(THOUSANDS)
    axes.margins(y=0.08)
    axes.legend(loc="upper left", **LEGEND)


def _draw_losers(
    axes: Axes, before: np.ndarray, after: np.ndarray, labels: Sequence[str], measure: str
) -> None:
    """A line from where each would be to where it is, the greatest loss on top, its points beside it."""
    rows = np.arange(len(after))
    style(axes, "", AXIS[measure], "client", grid="x")
    axes.hlines(rows, after, before, color=VERMILION, linewidth=2.5, zorder=2)
    axes.scatter(before, rows, s=42, facecolor="white", edgecolor=INK, linewidth=1.2, zorder=3)
    axes.scatter(after, rows, s=42, color=VERMILION, zorder=3)
    for row, low, high in zip(rows, after, before, strict=True):
        word = (f"{low - high:+.1f}" if measure == "accuracy" else f"{low - high:+.3g}").replace(
            "-", "\N{MINUS SIGN}"
        )
        at: dict[str, Any] = {"xytext": (7, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(word, (max(low, high), row), fontsize=8, color=INK, **at)
    axes.set_yticks(rows, labels[: len(rows)], fontsize=8)
    axes.set_ylim(max(len(rows), 5) - 0.5, -0.6)
    axes.margins(x=0.16)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_color(GRID)


def _explain(axes: Axes, name: str, other_name: str) -> None:
    """What the two ends of a line are."""
    look: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 6}
    ends = [
        Line2D([], [], markerfacecolor="white", markeredgecolor=INK, label=other_name, **look),
        Line2D([], [], color=VERMILION, label=name, **look),
    ]
    axes.legend(handles=ends, loc="upper center", bbox_to_anchor=(0.45, -0.14), ncols=2, **LEGEND)
