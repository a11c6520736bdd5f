"""Learning curves of a run, and of several beside each other."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fedtp_jax.config.metrics import WORDS, columns_of, headline_of
from fedtp_jax.plots.style import (
    AXIS,
    BLUE,
    CURVE,
    GREEN,
    LEGEND,
    LETTERS,
    LOSS,
    ORANGE,
    THOUSANDS,
    VERMILION,
    Picture,
    line_looks,
    style,
)

MOST_MARKERS = 40  # evaluations drawn with markers; more would merge into a thick line
Over = Literal["rounds", "time"]
COLUMNS = {"rounds": "round", "time": "virtual_time"}  # of a history


def learning_curves(history: pd.DataFrame, over: Over = "rounds") -> Figure:
    """Accuracy, in regression the mean absolute error (left), and loss (right) over the rounds.

    Args:
      history: a row per round, NaN in rounds without evaluation; accuracies are fractions.
      over: "time": over the seconds of the virtual clock, which the history then has.
    """
    unit, xlabel = _axis(over, history[COLUMNS[over]].max())
    # many measures make many columns, to which pandas adds none in their place
    history = pd.concat([history, (history[COLUMNS[over]] / unit).rename("x")], axis=1)
    figure = Picture(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    history = history.replace([np.inf, -np.inf], np.nan)  # a diverged round leaves a gap
    measure, evaluated = headline_of(history.columns), history.dropna(subset="clients_tested")
    title = "No evaluation yet" if evaluated.empty else f"Test {WORDS[measure]}"
    style(left, title, xlabel, AXIS[measure])
    style(right, "Loss", xlabel, LOSS[measure])
    if not evaluated.empty:
        _draw_headline(left, evaluated, measure)
    _draw_losses(right, history, evaluated)
    for axes in (left, right):
        if over == "rounds":
            pad = max(0.5, 0.02 * len(history))
            axes.set_xlim(history["x"].min() - pad, history["x"].max() + pad)
        _ticks(axes, over, 7)
    return figure


def _axis(over: Over, longest: float) -> tuple[float, str]:
    """(the unit of an axis, what it is called) that ends at so many rounds or seconds."""
    if over == "rounds":
        return 1, "communication round"
    length, name = next((pair for pair in ((3600, "h"), (60, "min")) if longest >= 5 * pair[0]), (1, "s"))
    return length, f"virtual time ({name})"


def _ticks(axes: Axes, over: Over, count: int) -> None:
    axes.locator_params("x", nbins=count, integer=over == "rounds")
    if over == "rounds":
        axes.xaxis.set_major_formatter(THOUSANDS)


def _draw_headline(axes: Axes, evaluated: pd.DataFrame, measure: str) -> None:
    """The headline over all examples (also adapted), mean of the clients +- one std, and the worst decile."""
    x, share = evaluated["x"], measure == "accuracy"
    unit, most = (100, 100) if share else (1, None)
    pooled, mean_of, std_of, decile = columns_of(measure)
    mean, std = unit * evaluated[f"test_{mean_of}"], unit * evaluated[f"test_{std_of}"]
    low, high = (mean - std).clip(0, most), (mean + std).clip(0, most)
    if len(evaluated) == 1:  # a band of one round has no width
        axes.errorbar(x, mean, [mean - low, high - mean], fmt="none", ecolor=ORANGE, capsize=5)
    else:
        axes.fill_between(x, low, high, color=ORANGE, alpha=0.18, linewidth=0)
    few = len(evaluated) <= MOST_MARKERS
    for column, name, colour, marker, dashes in (  # which differ in grey too
        (f"test_{pooled}", "all examples", BLUE, "o", "-"),
        (f"test_{mean_of}", "mean of clients ± std", ORANGE, "s", "-"),
        (f"test_{decile}", "worst tenth of clients", VERMILION, "v", "--"),
        (f"adapted_{pooled}", "all examples, adapted", GREEN, "^", ":"),
    ):
        if column not in evaluated:  # nobody adapts
            continue
        values = unit * evaluated[column]
        label = f"{name}: " + (f"{values.iloc[-1]:.1f} %" if share else f"{values.iloc[-1]:.4g}")
        look: dict[str, Any] = {"marker": marker if few else "", "color": colour, "linestyle": dashes}
        axes.plot(x, values, label=label, **look, **CURVE)
    if share:
        axes.set_ylim(max(axes.get_ylim()[0], -2), min(axes.get_ylim()[1], 102))
    axes.legend(**LEGEND)


def _draw_losses(axes: Axes, history: pd.DataFrame, evaluated: pd.DataFrame) -> None:
    """Train loss of every round's cohort (with a running mean if there are many) and test loss."""
    x, train, label = history["x"], history["train_loss"], "train"
    window = len(history) // 30
    if window > 1:  # a small cohort's loss jumps from round to round; the mean shows where it goes
        axes.plot(x, train, color=GREEN, alpha=0.3, linewidth=0.8, label="train, each round")
        train = train.rolling(window, center=True, min_periods=1).mean()
        label = f"train, mean over {window} rounds"
    axes.plot(x, train, "-" if len(x) > 1 else "o", color=GREEN, label=label, **CURVE)
    if not evaluated.empty:
        shape = "o-" if len(evaluated) <= MOST_MARKERS else "-"
        axes.plot(evaluated["x"], evaluated["test_loss"], shape, color=BLUE, label="test", **CURVE)
    axes.legend(**LEGEND)


def compared_curves(
    panels: Mapping[str, Mapping[str, pd.DataFrame]],
    names: Sequence[str],
    ylabel: str,
    what: str,
    share: bool = True,
    over: Over = "rounds",
) -> Figure:
    """Learning curves beside each other: a panel for each key, in it a curve for each of `names` it has.

    Args:
      panels: {panel: {name: a row per evaluation: x, mean, std}}, fractions; std is NaN of a single run.
      what: what the names are, over the legend.
      share: whether they are fractions, drawn in percent, or any numbers.
      over: what x is: rounds, or seconds of the virtual clock.
    """
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Picture(figsize=(max(5.5, 4.2 * columns), 3.4 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    looks = dict(zip(names, line_looks(len(names)), strict=True))
    unit, xlabel = _axis(
        over, max(curve["x"].max() for curves in panels.values() for curve in curves.values())
    )
    drawn: dict[str, Line2D] = {}
    for place, (panel, title) in enumerate(zip(axes.flat, panels, strict=False)):
        style(panel, fill(title, 40), xlabel, "" if place % columns else fill(ylabel, 36))
        for name in names:
            if name in panels[title]:
                curve = panels[title][name]
                drawn[name] = _draw_band(panel, curve.assign(x=curve["x"] / unit), looks[name], share)
        x = pd.concat([curve["x"] for curve in panels[title].values()])
        if over == "rounds" and x.nunique() == 1:  # the axis of a single one would have none but its tick
            panel.set_xlim(x.iloc[0] - 0.5, x.iloc[0] + 0.5)
        _ticks(panel, over, 6)
    for panel in axes.flat[len(panels) :]:
        panel.set_visible(False)
    kept = [name for name in names if name in drawn]
    handles, ncols = [drawn[name] for name in kept], min(len(kept), 2 * columns)
    widest = max(map(len, kept), default=0) + 9  # the line, and the space between columns
    ncols = max(1, min(ncols, int(figure.get_figwidth() * LETTERS // widest)))
    legend: dict[str, Any] = {"ncols": ncols, "title": what or None, "handlelength": 2.8, **LEGEND}
    figure.legend(handles, kept, loc="outside lower center", **legend)
    return figure


def _draw_band(axes: Axes, curve: pd.DataFrame, look: dict[str, Any], share: bool) -> Line2D:
    """A curve of means, one standard deviation around it shaded."""
    unit = 100 if share else 1
    mean, std = unit * curve["mean"], unit * curve["std"].fillna(0)
    low, high = mean - std, mean + std
    if share:
        low, high = low.clip(0, 100), high.clip(0, 100)
    axes.fill_between(curve["x"], low, high, color=look["color"], alpha=0.18, linewidth=0)
    crowded = "markevery" not in look and len(curve) > MOST_MARKERS
    (line,) = axes.plot(curve["x"], mean, **CURVE, **look | ({"marker": ""} if crowded else {}))
    return line
