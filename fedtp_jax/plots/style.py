"""Colours and manners that all pictures share."""

import io
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter

# Okabe and Ito's palette: told apart with every common colour blindness.
BLUE, SKY, ORANGE, GREEN, VERMILION = "#0072B2", "#56B4E9", "#E69F00", "#009E73", "#D55E00"
PURPLE = "#CC79A7"
INK, QUIET, GRID = "#333333", "#8a8a8a", "#e8e8e8"
THOUSANDS = "{x:,.0f}"
CURVE: dict[str, Any] = {"linewidth": 1.8, "markersize": 4}
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 9}
LETTERS = 14  # of a legend, to an inch
# by what every evaluation of a run measures
AXIS = {"accuracy": "accuracy (%)", "mae": "mean absolute error"}
LOSS = {"accuracy": "cross-entropy (nats)", "mae": "loss, of numbers with std 1"}


class Picture(Figure):
    """A figure that a notebook shows, whether or not it uses pyplot."""

    def _repr_png_(self) -> bytes:
        return to_png(self, dpi=96)

    def draw(self, renderer: Any) -> None:
        """As matplotlib does, but that a name such as "$x" is no mathematics."""
        axes = [axis for one in self.axes for axis in (one.xaxis, one.yaxis)]
        numbers = [axis for axis in axes if not isinstance(axis.get_major_formatter(), FixedFormatter)]
        ticks = {id(label) for axis in numbers for label in axis.get_ticklabels(which="both")}
        for text in self.findobj(Text):
            if id(text) not in ticks:
                text.set_parse_math(False)
        super().draw(renderer)


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
