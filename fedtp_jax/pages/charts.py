"""Charts that tell values under the pointer: specifications in Vega-Lite, and the numbers that they show.

What is shown is chosen by the page's controls, whose names are parameters of a chart: `shown`, the series
that are drawn; `over` and `measure`, which numbers; `chosen`, the clients that stand out.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fedtp_jax.plots.style import LINES

MOST_POINTS = 600  # of a curve
FEW_POINTS = 40  # of a curve that is drawn with markers, without which one of a single point were none
STROKES = ([1, 0], [6, 3], [2, 2], [6, 2, 2, 2])
DIGITS = 6
Json = dict[str, Any]
Columns = Mapping[str, Sequence[Any]]
Look = tuple[str, list[int]]  # colour, and lengths of dashes and gaps


@dataclasses.dataclass(frozen=True)
class Chart:
    """A specification without its data, and tables of these: what all rows share, and columns as long.

    `thinned`: in words what is left out of the data; "": nothing.
    """

    spec: Json
    tables: Sequence[tuple[Mapping[str, Any], Columns]]
    thinned: str = ""


@dataclasses.dataclass(frozen=True)
class Axis:
    """What an axis is called, and its least and greatest value, if they are given."""

    title: str
    limits: tuple[float, float] | None = None


def looks(series: Sequence[str]) -> dict[str, Look]:
    """{series: (colour, dashes)}, told apart in grey too."""
    signs = zip(itertools.cycle(LINES), itertools.cycle(STROKES))
    return dict(zip(series, signs, strict=False))


def curves(
    given: Sequence[tuple[Mapping[str, str], pd.DataFrame]],
    x: Mapping[str, Axis],
    y: Axis,
    looks: Mapping[str, Look],
    measure: str | None = None,
    title: str = "",
) -> Chart:
    """Lines of series over x, with bands where there are any.

    Args:
      given: (whose points they are: `series`, and with `measure` also `measure`; a row a point: the columns
        of `x`, value, and low and high of a band if there is one).
      x: {column: its axis}, the choices of the control `over`; the first is shown.
      y: the values' axis.
      looks: of these series, and perhaps of more.
      measure: which is shown at first, if there are several; then the values' axis is called so.
      title: of the chart.
    """
    tables, every = [], 1
    for whose, frame in given:
        kept, step = thinned(frame)
        tables.append((whose, columns_of(kept)))
        every = max(every, step)
    known = {whose["series"]: looks[whose["series"]] for whose, _ in given}
    chosen = {"shown": [*known], "over": next(iter(x))} | ({"measure": measure} if measure else {})
    told = words({"series": " "})
    told += [number(column, axis.title, ",.10~g") for column, axis in x.items()] + [number("value", y.title)]
    few = max((len(frame) for _, frame in given), default=0) <= FEW_POINTS
    spec = sized(240) | {
        **({"title": {"text": title, "fontSize": 12}} if title else {}),
        "params": [{"name": name, "value": value} for name, value in chosen.items()],
        "transform": _chosen(x, measure),
        "encoding": _sides(x, y, measure) | {"color": _of_series(known, 0)},
        "layer": [
            {
                "mark": {"type": "area", "opacity": 0.15},
                "transform": [{"filter": "isValid(datum.low)"}],
                "encoding": {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "line", "strokeWidth": 1.8, "point": few},
                "encoding": {"strokeDash": _of_series(known, 1)},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 50},
                "params": [
                    {"name": "near", "select": {"type": "point", "nearest": True, "on": "pointermove"}}
                ],
                "encoding": {
                    "opacity": {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0},
                    "tooltip": told,
                },
            },
        ],
    }
    return Chart(spec, tables, f"every {every}th point of a curve" if every > 1 else "")


def _chosen(x: Mapping[str, Axis], measure: str | None) -> list[Json]:
    """The rows that the controls ask for, and their x."""
    seen = "indexof(shown, datum.series) >= 0 && isValid(datum.value)"
    place = " : ".join(f"over == '{column}' ? datum.{column}" for column in x) + " : null"
    of_measure = " && datum.measure == measure" if measure else ""
    return [{"filter": seen + of_measure}, {"calculate": place, "as": "x"}]


def _sides(x: Mapping[str, Axis], y: Axis, measure: str | None) -> Json:
    called = " : ".join(f"over == '{column}' ? '{axis.title}'" for column, axis in x.items()) + " : ''"
    along = {"field": "x", "type": "quantitative", "scale": {"zero": False, "nice": False}}
    up = {"field": "value", "type": "quantitative", "scale": scale(y)}
    return {
        "x": along | {"axis": {"title": {"expr": called}, "grid": False}},
        "y": up | ({"axis": {"title": {"expr": "measure"}}} if measure else {"title": y.title}),
    }


def _of_series(known: Mapping[str, Look], part: int) -> Json:
    """The colours (0) or dashes (1) of the series."""
    scaled = {"domain": [*known], "range": [look[part] for look in known.values()]}
    return {"field": "series", "type": "nominal", "legend": None, "scale": scaled}


def thinned(frame: pd.DataFrame, most: int = MOST_POINTS) -> tuple[pd.DataFrame, int]:
    """(at most so many rows, evenly, the last among them; of how many each is one)."""
    step = max(1, -(-len(frame) // most))
    return frame.iloc[(len(frame) - 1) % step :: step] if len(frame) else frame, step


def columns_of(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """The table as JSON can hold it."""
    return {
        str(name): numbers(column) if column.dtype.kind == "f" else column.tolist()
        for name, column in frame.items()
    }


def numbers(values: Any) -> list[float | None]:
    """Whole ones as they are, others to six digits; None for what is not finite."""
    return [_number(v) if math.isfinite(v) else None for v in np.asarray(values, float).tolist()]


def _number(value: float) -> float:
    return int(value) if value.is_integer() else float(f"{value:.{DIGITS}g}")


def sized(height: int) -> Json:
    sized = {"contains": "padding", "type": "fit-x"}
    return {"width": "container", "height": height, "autosize": sized}


def scale(axis: Axis) -> Json:
    return {"zero": False} if axis.limits is None else {"domain": [*axis.limits]}


def words(fields: Mapping[str, str]) -> list[Json]:
    """What a tooltip says, {field: title}; without a format it would say "undefined" of the nearest point."""
    return [
        {"field": field, "type": "nominal", "title": title, "format": ""} for field, title in fields.items()
    ]


def number(field: str, title: str, form: str = ".4~g") -> Json:
    """A number of a tooltip."""
    return {"field": field, "type": "quantitative", "title": title, "format": form}
