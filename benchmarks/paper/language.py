"""Accuracy by position in the window: a model that sees ahead copies every character but the last."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.paper.store import percent
from fedtp_jax import Result
from fedtp_jax.config import name_of
from fedtp_jax.data.dataset import Windows
from fedtp_jax.data.sources import load
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

COLOURS = BLUE, ORANGE, GREEN, PURPLE, SKY, INK
AHEAD: dict[str, Any] = {"color": VERMILION, "ls": "--", "marker": "s"}
CLIENTS, WINDOWS = 40, 250  # whose test windows, and how many of each, are read


def measure(runs: Sequence[Result]) -> pd.DataFrame:
    """A row per position, 1 for the first that is predicted."""
    (result,) = runs
    test = load(result.config.data).test
    assert isinstance(test, Windows)
    reach = np.arange(test.length + 1)
    right, read = np.zeros(test.length), 0
    for client in np.flatnonzero(result.partition.test.sizes)[:CLIENTS]:
        held = result.partition.test[client]
        some = held[np.linspace(0, len(held) - 1, min(WINDOWS, len(held)), dtype=int)]
        characters = test.text[test.start[some][:, None] + reach]
        predicted = np.asarray(result.predict(client, characters[:, :-1]).argmax(-1))
        right, read = right + (predicted == characters[:, 1:]).sum(0), read + len(some)
    config = result.config
    ahead = " that sees ahead" * (config.compat == "reference")
    name = f"{name_of(config.method)}, {name_of(config.model)}{ahead}"
    shared = {"model": name, "seed": config.seed}
    return pd.DataFrame(
        [{**shared, "position": k + 1, "accuracy": round(value, 5)} for k, value in enumerate(right / read)]
    )


def table(found: pd.DataFrame) -> pd.DataFrame:
    """Mean ± sample std over seeds in percent: a column per position."""
    wide = found.groupby(["model", "position"], sort=False)["accuracy"].agg(percent).unstack("position")
    return wide.reset_index()


def picture(found: pd.DataFrame) -> Figure:
    """Accuracy over positions, mean and spread over seeds."""
    figure = Picture(figsize=(8.8, 4.4), layout="constrained")
    axes = figure.subplots()
    style(axes, "Accuracy by position in the window", "position of the predicted character", "accuracy (%)")
    for k, (model, part) in enumerate(found.groupby("model", sort=False)):
        turn, colour = divmod(k, len(COLOURS))
        look: dict[str, Any] = {"color": COLOURS[colour], "ls": ("-", ":")[turn % 2], "marker": "o"}
        if "sees ahead" in str(model):
            look = AHEAD
        seeds = 100 * part.pivot_table(index="position", columns="seed", values="accuracy")
        mean, spread = seeds.mean(axis=1), seeds.std(axis=1).fillna(0)
        axes.plot(mean.index, mean, label=str(model), **CURVE, **look)
        axes.fill_between(mean.index, mean - spread, mean + spread, alpha=0.18, lw=0, color=look["color"])
    axes.locator_params("x", integer=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", **LEGEND)
    return figure
