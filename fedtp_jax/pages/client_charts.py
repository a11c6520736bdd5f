"""Clients as charts: what they reach, what they hold, and their embeddings."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fedtp_jax.pages.charts import (
    FEW_POINTS,
    MOST_POINTS,
    Axis,
    Chart,
    Columns,
    Json,
    columns_of,
    number,
    numbers,
    scale,
    sized,
    thinned,
    words,
)
from fedtp_jax.plots.style import ORANGE, SKY

MOST_CURVES, MOST_BUBBLES, MOST_CLASSES, MOST_COLOURS = 100, 100, 40, 20
CHOSEN = {"name": "chosen", "value": []}
STANDS_OUT: Json = {
    "condition": {"test": "!length(chosen) || indexof(chosen, '' + datum.client) >= 0", "value": 0.95},
    "value": 0.12,
}


def bars(clients: pd.DataFrame, y: Axis) -> Chart:
    """Clients' values, worst first, those of the worst tenth in a colour of their own.

    `clients`: a row per client in this order: client, called, train_examples, test_examples, value.
    """
    ranked = clients.assign(rank=range(len(clients)), tenth=np.arange(len(clients)) < -(-len(clients) // 10))
    step = max(1, -(-len(ranked) // (2 * MOST_POINTS)))
    kept = ranked.iloc[::step]  # the worst among them
    told = {"called": "client", "train_examples": "train examples", "test_examples": "test examples"}
    spec = sized(200) | {
        "params": [CHOSEN],
        "mark": {"type": "bar", "width": {"expr": f"max(1, .8 * width / {max(len(kept), 8)})"}},
        "encoding": {
            "x": {
                "field": "rank",
                "type": "quantitative",
                "scale": {"domain": [-0.5, max(len(ranked), 8) - 0.5], "nice": False},
                "axis": {"title": "client, worst first", "labels": False, "ticks": False, "grid": False},
            },
            "y": {"field": "value", "type": "quantitative", "title": y.title, "scale": scale(y)},
            "color": {
                "field": "tenth",
                "type": "nominal",
                "legend": None,
                "scale": {"domain": [False, True], "range": [SKY, ORANGE]},
            },
            "opacity": STANDS_OUT,
            "tooltip": [*words(told), number("value", y.title)],
        },
    }
    return Chart(spec, [({}, columns_of(kept))], f"every {step}th client of the bars" if step > 1 else "")


def client_curves(history: pd.DataFrame, names: Mapping[int, str], y: Axis) -> Chart:
    """A line a client over the rounds: rows of round, client, value; `names`: {client: what it is called}."""
    every = -(-len(names) // MOST_CURVES)
    kept = {client: called for k, (client, called) in enumerate(names.items()) if k % every == 0}
    tables, of_rounds, longest = [], 1, 0
    for client, frame in history[history["client"].isin(kept)].groupby("client"):
        points, step = thinned(frame[["round", "value"]], MOST_CURVES)
        of_rounds, longest = max(of_rounds, step), max(longest, len(points))
        tables.append(({"client": int(str(client)), "called": kept[int(str(client))]}, columns_of(points)))
    near = {
        "name": "near",
        "select": {"type": "point", "fields": ["client"], "nearest": True, "on": "pointermove"},
    }
    bright = {
        "condition": [{"param": "near", "empty": False, "value": 1}, STANDS_OUT["condition"]],
        "value": 0.08,
    }
    encoding = {
        "x": {
            "field": "round",
            "type": "quantitative",
            "title": "communication round",
            "axis": {"grid": False},
        },
        "y": {"field": "value", "type": "quantitative", "title": y.title, "scale": scale(y)},
        "detail": {"field": "client", "type": "nominal"},
    }
    told = [*words({"called": "client", "round": "round"}), number("value", y.title)]
    spec = sized(240) | {
        "params": [CHOSEN],
        "transform": [{"filter": "isValid(datum.value)"}],
        "encoding": encoding,
        "layer": [
            {
                "mark": {"type": "line", "color": SKY, "point": longest <= FEW_POINTS},
                "encoding": {"opacity": bright},
            },
            {
                "mark": {"type": "point", "opacity": 0, "size": 40},
                "params": [near],
                "encoding": {"tooltip": told},
            },
        ],
    }
    counts = {"client's curve": every, "evaluation": of_rounds}
    return Chart(spec, tables, ", ".join(f"every {step}th {of}" for of, step in counts.items() if step > 1))


def held_classes(counts: np.ndarray, classes: Sequence[str], called: Sequence[str]) -> Chart:
    """Who holds how many examples of which class: `counts` [N, C], names of classes and of clients."""
    every = max(-(-int(np.count_nonzero(counts)) // 20_000), -(-len(counts) // 1_000))
    client, label = np.nonzero(counts[::every])
    shown: list[int] = (client * every).tolist()
    rows: Columns = {
        "client": shown,
        "label": [classes[k] for k in label.tolist()],
        "called": [called[k] for k in shown],
        "examples": counts[shown, label].tolist(),
    }
    many = len(counts) > MOST_BUBBLES or len(classes) > MOST_CLASSES
    mark: Json = {"type": "rect"} if many else {"type": "circle", "opacity": 0.85}
    size = {"field": "examples", "type": "quantitative", "title": "examples"}
    looks = {"color": size | {"scale": {"scheme": "viridis", "reverse": True}}} if many else {"size": size}
    spec = sized(min(max(120, 16 * len(classes)), 480)) | {
        "params": [CHOSEN],
        "mark": mark,
        "encoding": {
            "x": {
                "field": "client",
                "type": "ordinal",
                "title": "client",
                "axis": {"labelOverlap": True, "labelAngle": 0, "grid": not many},
            },
            "y": {
                "field": "label",
                "type": "nominal",
                "title": None,
                "scale": {"domain": [*dict.fromkeys(reversed(classes))]},
                "axis": {"labelOverlap": True},
            },
            **looks,
            "opacity": STANDS_OUT,
            "tooltip": words({"called": "client", "label": "class", "examples": "examples"}),
        },
    }
    return Chart(spec, [({}, rows)], f"every {every}th client of the partition" if every > 1 else "")


def clients_map(
    points: np.ndarray, axes: tuple[str, str], holds: Sequence[str], called: Sequence[str], what: str
) -> Chart:
    """Clients as points [N, 2], by what each holds most of; `what` that is: a class, or "" if not told."""
    every = -(-len(points) // 5_000)
    kept = [*range(0, len(points), every)]
    rows: Columns = {
        "client": kept,
        "x": numbers(points[kept, 0]),
        "y": numbers(points[kept, 1]),
        "holds": [holds[k] for k in kept],
        "called": [called[k] for k in kept],
    }
    sides: list[Json] = [
        {"field": field, "type": "quantitative", "title": title, "scale": {"zero": False}}
        for field, title in zip("xy", axes, strict=True)
    ]
    colour: Json = {"field": "holds", "type": "nominal", "title": what, "scale": {"scheme": "tableau20"}}
    if len({*holds}) > MOST_COLOURS:
        colour["legend"] = None
    spec = sized(380) | {
        "params": [CHOSEN],
        "mark": {"type": "circle", "size": 80, "stroke": "#333333", "strokeWidth": 0.5},
        "encoding": {
            "x": sides[0],
            "y": sides[1],
            "color": colour if what else {"value": SKY},
            "opacity": STANDS_OUT,
            "tooltip": words({"called": "client"} | ({"holds": f"most examples: {what}"} if what else {})),
        },
    }
    return Chart(spec, [({}, rows)], f"every {every}th client's embedding" if every > 1 else "")
