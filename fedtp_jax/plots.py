"""Pictures of a run and of a partition: Matplotlib figures that need neither a display nor pyplot's state."""

import io
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# Okabe and Ito's palette: told apart with every common colour blindness.
BLUE, SKY, ORANGE, GREEN, VERMILION = "#0072B2", "#56B4E9", "#E69F00", "#009E73", "#D55E00"
PURPLE = "#CC79A7"
INK, QUIET, GRID = "#333333", "#8a8a8a", "#e8e8e8"
THOUSANDS = "{x:,.0f}"
CURVE: dict[str, Any] = {"linewidth": 1.8, "markersize": 4}
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 9}
LETTERS = 14  # of a legend, to an inch

MOST_MARKERS = 40  # evaluations drawn with markers; more would merge into a thick line
MOST_BUBBLE_CLIENTS, MOST_BUBBLE_CLASSES = 100, 40
MOST_BARS = 60  # clients drawn as single bars
MOST_COLUMNS = 1000  # of a heat map or of steps; more clients than this are averaged in groups


class Picture(Figure):
    """A figure that a notebook shows, whether or not it uses pyplot."""

    def _repr_png_(self) -> bytes:
        return to_png(self, dpi=96)


def to_png(figure: Figure, dpi: int = 144) -> bytes:
    """The figure as a PNG file; the same data drawn anew give the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def style(axes: Axes, title: str, xlabel: str, ylabel: str, grid: Literal["x", "y"] = "y") -> None:
    """The title on the left, no frame, faint lines across the values."""
    axes.set_title(title, loc="left", fontsize=11)
    axes.set(xlabel=xlabel, ylabel=ylabel, axisbelow=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)


def learning_curves(history: pd.DataFrame) -> Figure:
    """Accuracy (left) and loss (right) over the rounds.

    Args:
      history: a row per round; the test_* columns are fractions, NaN in rounds without evaluation.
    """
    figure = Picture(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    history = history.replace([np.inf, -np.inf], np.nan)  # a diverged round leaves a gap
    evaluated = history.dropna(subset="test_accuracy")
    title = "No evaluation yet" if evaluated.empty else "Test accuracy"
    style(left, title, "communication round", "accuracy (%)")
    style(right, "Loss", "communication round", "cross-entropy (nats per example)")
    if not evaluated.empty:
        _draw_accuracies(left, evaluated)
    _draw_losses(right, history, evaluated)
    pad = max(0.5, 0.02 * len(history))
    for axes in (left, right):
        axes.set_xlim(history["round"].min() - pad, history["round"].max() + pad)
        axes.locator_params("x", nbins=7, integer=True)
        axes.xaxis.set_major_formatter(THOUSANDS)
    return figure


def _draw_accuracies(axes: Axes, evaluated: pd.DataFrame) -> None:
    """Accuracy over all examples, mean of the clients +- one standard deviation, and the worst decile."""
    rounds = evaluated["round"]
    mean, std = 100 * evaluated["test_client_mean"], 100 * evaluated["test_client_std"]
    low, high = (mean - std).clip(0, 100), (mean + std).clip(0, 100)
    if len(evaluated) == 1:  # a band of one round has no width
        axes.errorbar(rounds, mean, [mean - low, high - mean], fmt="none", ecolor=ORANGE, capsize=5)
    else:
        axes.fill_between(rounds, low, high, color=ORANGE, alpha=0.18, linewidth=0)
    few = len(evaluated) <= MOST_MARKERS
    for column, name, colour, marker in (
        ("test_accuracy", "all examples", BLUE, "o"),
        ("test_client_mean", "mean of clients ± std", ORANGE, "s"),
        ("test_worst_decile", "worst tenth of clients", VERMILION, "v"),
    ):
        values = 100 * evaluated[column]
        label = f"{name}: {values.iloc[-1]:.1f} %"
        axes.plot(rounds, values, marker=marker if few else "", color=colour, label=label, **CURVE)
    axes.set_ylim(max(axes.get_ylim()[0], -2), min(axes.get_ylim()[1], 102))
    axes.legend(**LEGEND)


def _draw_losses(axes: Axes, history: pd.DataFrame, evaluated: pd.DataFrame) -> None:
    """Train loss of every round's cohort (with a running mean if there are many) and test loss."""
    rounds, train, label = history["round"], history["train_loss"], "train"
    window = len(history) // 30
    if window > 1:  # a small cohort's loss jumps from round to round; the mean shows where it goes
        axes.plot(rounds, train, color=GREEN, alpha=0.3, linewidth=0.8, label="train, each round")
        train = train.rolling(window, center=True, min_periods=1).mean()
        label = f"train, mean over {window} rounds"
    axes.plot(rounds, train, "-" if len(rounds) > 1 else "o", color=GREEN, label=label, **CURVE)
    if not evaluated.empty:
        shape = "o-" if len(evaluated) <= MOST_MARKERS else "-"
        axes.plot(evaluated["round"], evaluated["test_loss"], shape, color=BLUE, label="test", **CURVE)
    axes.legend(**LEGEND)


def compared_curves(
    panels: Mapping[str, Mapping[str, pd.DataFrame]], names: Sequence[str], ylabel: str, what: str
) -> Figure:
    """Learning curves beside each other: a panel for each key, in it a curve for each of `names` it has.

    Args:
      panels: {panel: {name: a row per evaluation: round, mean, std}}, fractions; std is NaN of a single run.
      what: what the names are, over the legend.
    """
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Picture(figsize=(max(5.5, 4.2 * columns), 3.4 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    colours = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, INK)
    drawn: dict[str, Line2D] = {}
    for place, (panel, title) in enumerate(zip(axes.flat, panels, strict=False)):
        style(panel, fill(title, 40), "communication round", "" if place % columns else fill(ylabel, 36))
        for k, name in enumerate(names):
            if name in panels[title]:
                look = {"color": colours[k % 7], "linestyle": ("-", "--", ":", "-.")[k // 7 % 4]}
                drawn[name] = _draw_band(panel, panels[title][name], look)
        panel.locator_params("x", nbins=6, integer=True)
        panel.xaxis.set_major_formatter(THOUSANDS)
    for panel in axes.flat[len(panels) :]:
        panel.set_visible(False)
    kept = [name for name in names if name in drawn]
    handles, ncols = [drawn[name] for name in kept], min(len(kept), 2 * columns)
    widest = max(map(len, kept), default=0) + 9  # the line, and the space between columns
    ncols = max(1, min(ncols, int(figure.get_figwidth() * LETTERS // widest)))
    legend: dict[str, Any] = {"ncols": ncols, "title": what or None, "handlelength": 2.8, **LEGEND}
    figure.legend(handles, kept, loc="outside lower center", **legend)
    return figure


def _draw_band(axes: Axes, curve: pd.DataFrame, look: Mapping[str, Any]) -> Line2D:
    """A curve of means, one standard deviation around it shaded."""
    mean, std = 100 * curve["mean"], 100 * curve["std"].fillna(0)
    low, high = (mean - std).clip(0, 100), (mean + std).clip(0, 100)
    axes.fill_between(curve["round"], low, high, color=look["color"], alpha=0.18, linewidth=0)
    marker = "o" if len(curve) <= MOST_MARKERS else ""
    (line,) = axes.plot(curve["round"], mean, marker=marker, **CURVE, **look)
    return line


def client_accuracies(clients: pd.DataFrame) -> Figure:
    """Test accuracy of every client that has test examples, worst first, with mean and worst tenth.

    Args:
      clients: a row per client: client, test_accuracy (fraction, NaN without test examples).
    """
    figure = Picture(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots()
    tested = clients.dropna(subset="test_accuracy").sort_values(["test_accuracy", "client"])
    values = 100 * tested["test_accuracy"].to_numpy(float)
    count, missing = len(values), len(clients) - len(values)
    title = f"Clients tested: {count:,}, without test examples: {missing:,}"
    style(axes, title, "client, worst first", "accuracy (%)")
    axes.set_ylim(0, 100)
    if not count:  # the title says why
        return figure
    worst = -(-count // 10)
    if count <= MOST_BARS:
        axes.bar(np.arange(count), values, width=0.8, color=[ORANGE] * worst + [SKY] * (count - worst))
        axes.set_xticks(np.arange(count), tested["client"].astype(str), fontsize=9 if count <= 30 else 7)
    else:
        # Of very many clients a step is the mean of neighbours in rank; none is of both colours.
        starts = np.union1d(np.arange(0, count, -(-count // MOST_COLUMNS)), worst)
        edges = np.append(starts, count)
        steps, tail = np.add.reduceat(values, starts) / np.diff(edges), np.searchsorted(starts, worst)
        axes.stairs(steps, edges - 0.5, fill=True, color=SKY)
        axes.stairs(steps[:tail], edges[: tail + 1] - 0.5, fill=True, color=ORANGE)
        axes.xaxis.set_major_formatter(THOUSANDS)
    pad = max(0.01 * count, (8 - count) / 2)  # few bars stay narrow
    axes.set_xlim(-0.5 - pad, count - 0.5 + pad)
    mean, decile = values.mean(), values[:worst].mean()
    axes.axhline(mean, color=INK, linewidth=1.5, label=f"mean of clients: {mean:.1f} %")
    axes.axhline(decile, color=VERMILION, ls="--", linewidth=1.5, label=f"worst tenth: {decile:.1f} %")
    figure.legend(loc="outside lower right", ncols=2, **LEGEND)
    return figure


def partition_bubbles(counts: np.ndarray, labels: Sequence[str] | None = None) -> Figure:
    """Who holds which classes: a bubble per client and class, or a heat map where those would be too small.

    Args:
      counts: [N, C] examples of each class that each client holds.
      labels: C names of the classes; their numbers without.
    """
    counts = np.asarray(counts)
    clients, classes = counts.shape
    width = min(max(6.5, 0.4 * clients + 1.8), 10)
    height = min(max(3.0, min(max(5 / classes, 0.15), 0.36) * classes + 1.2), 7.5)
    figure = Picture(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    sizes = counts.sum(1)
    shards = f"smallest {sizes.min():,}, median {np.median(sizes):,.0f}, largest {sizes.max():,}"
    title = f"Clients: {clients:,}, classes: {classes}\nExamples per client: {shards}"
    style(axes, title, "client", "class")
    if clients > MOST_BUBBLE_CLIENTS or classes > MOST_BUBBLE_CLASSES:
        _draw_heat_map(figure, axes, counts)
    else:
        overlap = 1 if clients <= 50 else 1.6  # neighbours may overlap where bubbles were but dots
        cell = min(overlap * (width - 1.8) / clients, (height - 1.2) / classes, 0.36)
        _draw_bubbles(figure, axes, counts, 72 * cell)
    axes.locator_params("x", nbins=min(clients, 20), steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    axes.xaxis.set_major_formatter(THOUSANDS)
    if classes <= MOST_BUBBLE_CLASSES:
        names = [str(c) for c in range(classes)] if labels is None else list(labels)
        # A class may be called "$x": its name is no mathematics.
        axes.set_yticks(range(classes), names, fontsize=9 if classes <= 20 else 7, parse_math=False)
    axes.set(xlim=(-0.5, clients - 0.5), ylim=(-0.5, classes - 0.5))
    return figure


def _draw_bubbles(figure: Figure, axes: Axes, counts: np.ndarray, diameter: float) -> None:
    """Bubbles whose area is proportional to the count; the largest has this diameter in points."""
    largest = max(int(counts.max()), 1)
    client, label = np.nonzero(counts)
    areas, edge = diameter**2 * counts[client, label] / largest, 0.3  # the edge keeps one example visible
    axes.grid(color=GRID, linewidth=0.6)
    axes.scatter(client, label, s=areas, color=BLUE, alpha=0.85, linewidths=edge, clip_on=False)
    # The legend shows the largest, and half and a tenth of it to their first digit.
    shown = sorted({largest, *(max(1, int(float(f"{largest * part:.0e}"))) for part in (0.5, 0.1))})
    look: dict[str, Any] = {"linestyle": "", "marker": "o", "color": BLUE, "mew": edge}
    handles = [Line2D([], [], ms=diameter * (n / largest) ** 0.5, **look) for n in shown]
    room = {"labelspacing": max(0.5, diameter / 9 - 0.8), "handletextpad": max(0.4, diameter / 18 - 0.6)}
    names = [f"{n:,}" for n in shown]
    figure.legend(handles, names, loc="outside right upper", title="examples", **room, **LEGEND)


def _draw_heat_map(figure: Figure, axes: Axes, counts: np.ndarray) -> None:
    """A column per client (or group of neighbours, averaged), a row per class; white where there is none."""
    clients, classes = counts.shape
    group = -(-clients // MOST_COLUMNS)
    starts = np.arange(0, clients, group)
    means = np.add.reduceat(counts, starts, axis=0) / np.diff([*starts, clients])[:, None]
    # Without its palest end, which white would swallow; the root keeps small counts apart.
    colours = ListedColormap(colormaps["viridis_r"](np.linspace(0.1, 1, 256)))
    norm = PowerNorm(0.5, vmin=0, vmax=max(means.max(), 1))
    x, y = np.append(starts, clients) - 0.5, np.arange(classes + 1) - 0.5
    mesh = axes.pcolormesh(x, y, np.ma.masked_equal(means.T, 0), cmap=colours, norm=norm)
    label = f"examples per class, mean of {group:,} clients" if group > 1 else "examples per client and class"
    figure.colorbar(mesh, ax=axes, pad=0.02, label=label)
