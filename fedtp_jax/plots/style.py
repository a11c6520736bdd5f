"""Colours and manners that all pictures share."""

import io
import itertools
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter

# Okabe and Ito's palette: told apart with every common colour blindness.
BLUE, SKY, ORANGE, GREEN, VERMILION = "#0072B2", "#56B4E9", "#E69F00", "#009E73", "#D55E00"
PURPLE = "#CC79A7"
INK, QUIET, GRID = "#333333", "#8a8a8a", "#e8e8e8"
LINES = BLUE, ORANGE, GREEN, INK, VERMILION, SKY, PURPLE
GREYS = 4  # of them, from the first, that differ in lightness
DASHES, MARKERS = ("-", "--", ":", "-."), ("o", "s", "v", "D", "^")
APART = 0.1  # of the axes' diagonal between two markers, so that dashes are seen
DATES = {"pdf": "CreationDate", "svg": "Date"}  # of metadata
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


def to_vectors(figure: Figure, form: str) -> bytes:
    """The figure as a "pdf" or "svg" file for papers; the same data drawn anew give the same bytes.

    A PDF holds its fonts as TrueType: text that is found and edited, in a form that journals take where they
    refuse Matplotlib's own Type 3. An SVG, which can hold no font, has letters as outlines: as text it would
    be set in whatever font, and width, there is where it is looked at.
    """
    buffer = io.BytesIO()
    fonts: Any = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "fedtp_jax"}
    with rc_context(fonts):
        figure.savefig(buffer, format=form, metadata={DATES[form]: None})
    return buffer.getvalue()


def line_looks(count: int) -> list[dict[str, Any]]:
    """How so many lines look, as Matplotlib's arguments: told apart in grey, too.

    Up to four have colours of their own, and no other sign; of more each has dashes and a marker beside the
    colour, which 28 do not share.
    """
    if count <= GREYS:
        return [{"color": colour, "marker": "o", "linestyle": "-"} for colour in LINES[:count]]
    signs = zip(*(itertools.cycle(each) for each in (LINES, MARKERS, DASHES)), range(count), strict=False)
    return [
        {"color": colour, "marker": marker, "linestyle": dashes, "markevery": APART}
        for colour, marker, dashes, _ in signs
    ]


def style(axes: Axes, title: str, xlabel: str, ylabel: str, grid: Literal["x", "y"] = "y") -> None:
    """The title on the left, no frame, faint lines across the values."""
    axes.set_title(title, loc="left", fontsize=11)
    axes.set(xlabel=xlabel, ylabel=ylabel, axisbelow=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
