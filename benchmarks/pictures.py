"""Pictures in the colours of the package's reports, which every common colour blindness tells apart."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedtp_jax.plots.style import BLUE, GREEN, GRID, LEGEND, ORANGE, QUIET, SKY, VERMILION

COLOURS = (BLUE, ORANGE, GREEN, VERMILION, SKY)
MARKERS = ("o", "s", "^", "D", "v")


def panels(count: int, width: float = 5.0, height: float = 4.0) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels side by side; inches of each."""
    figure = Figure(figsize=(width * count, height), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False).flat)


def style(axes: Axes, title: str, grid: str = "y") -> None:
    """The title on the left, no frame, faint lines across the values."""
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.grid(axis="x" if grid == "x" else "y", color=GRID, linewidth=0.8)


def bars(
    axes: Axes, title: str, names: Sequence[str], values: Sequence[float], ours: Sequence[bool], unit: str
) -> None:
    """Horizontal bars from the top down, each with its value; `ours` are blue, the others orange."""
    style(axes, title, grid="x")
    colours = [BLUE if own else ORANGE for own in ours]
    drawn = axes.barh(range(len(names)), values, color=colours, height=0.7)
    axes.bar_label(
        drawn, [f"{value:,.3g}" if value < 100 else f"{value:,.0f}" for value in values], padding=3
    )
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.set_xlim(0, 1.15 * max(values))
    axes.locator_params("x", nbins=5)


def grouped_bars(
    axes: Axes,
    title: str,
    names: Sequence[str],
    groups: Mapping[str, Sequence[float]],
    unit: str,
    digits: int = 2,
) -> None:
    """For each of `names` a bar of every group, with its value on top to so many digits."""
    style(axes, title)
    width = 0.8 / len(groups)
    for number, (label, values) in enumerate(groups.items()):
        at = np.arange(len(names)) + (number - (len(groups) - 1) / 2) * width
        drawn = axes.bar(at, values, 0.92 * width, color=COLOURS[number], label=label)
        told = [f"{value:.{digits}f}" for value in values]
        axes.bar_label(drawn, told, padding=2, fontsize=9 if digits > 1 else 8)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel(unit)
    axes.margins(y=0.12)
    axes.legend(**LEGEND)


def lines(
    axes: Axes, title: str, x: Sequence[float], groups: Mapping[str, Sequence[float]], unit: str
) -> None:
    """A line for every group over `x`, which is drawn in powers of ten."""
    style(axes, title)
    for number, (label, values) in enumerate(groups.items()):
        axes.plot(x, values, color=COLOURS[number], marker=MARKERS[number], label=label)
    axes.set_xscale("log")
    axes.set_ylabel(unit)
    if len(groups) > 1:
        axes.legend(**LEGEND)
