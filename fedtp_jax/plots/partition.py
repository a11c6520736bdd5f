"""Who holds which classes, as bubbles or as a heat map."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fedtp_jax.core.client_names import IN_PICTURES, called
from fedtp_jax.plots.style import BLUE, GRID, LEGEND, THOUSANDS, Picture, style

MOST_BUBBLE_CLIENTS, MOST_BUBBLE_CLASSES = 100, 40
MOST_NAMED = 40  # clients whose names are written
MOST_COLUMNS = 1000  # of a heat map or of steps; more clients than this are averaged in groups


def partition_bubbles(
    counts: np.ndarray, labels: Sequence[str] | None = None, names: Sequence[str] = ()
) -> Figure:
    """Who holds which classes: a bubble per client and class, or a heat map where those would be too small.

    Args:
      counts: [N, C] examples of each class that each client holds.
      labels: C names of the classes; their numbers without.
      names: N of the clients, written where they are few; their numbers without.
    """
    counts = np.asarray(counts)
    clients, classes = counts.shape
    width = min(max(6.5, 0.4 * clients + 1.8), 10)
    height = min(max(3.0, min(max(5 / classes, 0.15), 0.36) * classes + 1.2), 7.5)
    named = len(names) > 0 and clients <= MOST_NAMED
    figure = Picture(figsize=(width, height + 1.2 * named), layout="constrained")
    axes = figure.subplots()
    sizes = counts.sum(1)
    shards = f"smallest {sizes.min():,}, median {np.median(sizes):,.0f}, largest {sizes.max():,}"
    of_classes = f", classes: {classes}" if classes > 1 else ""  # one is all there is, as in regression
    title = f"Clients: {clients:,}{of_classes}\nExamples per client: {shards}"
    style(axes, title, "client", "class" if of_classes else "")
    if clients > MOST_BUBBLE_CLIENTS or classes > MOST_BUBBLE_CLASSES:
        _draw_heat_map(figure, axes, counts)
    else:
        overlap = 1 if clients <= 50 else 1.6  # neighbours may overlap where bubbles were but dots
        cell = min(overlap * (width - 1.8) / clients, (height - 1.2) / classes, 0.36)
        _draw_bubbles(figure, axes, counts, 72 * cell)
    if named:
        shown = [called(client, names, IN_PICTURES) for client in range(clients)]
        axes.set_xticks(range(clients), shown, rotation=90, fontsize=8)
    else:
        axes.locator_params("x", nbins=min(clients, 20), steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
        axes.xaxis.set_major_formatter(THOUSANDS)
    if classes <= MOST_BUBBLE_CLASSES:
        rows = [str(c) for c in range(classes)] if labels is None else list(labels)
        axes.set_yticks(range(classes), rows, fontsize=9 if classes <= 20 else 7)
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
