"""Clients that never trained: how far they get with few examples, and what if they are of another kind."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.paper.store import percent
from fedtp_jax import Result, from_arrays
from fedtp_jax.config import name_of
from fedtp_jax.data.dataset import Dataset, Examples
from fedtp_jax.data.sources import load
from fedtp_jax.plots.style import BLUE, GREEN, LEGEND, ORANGE, PURPLE, Picture, style
from fedtp_jax.simulation.participation import held_out_clients

EXAMPLES = (0, 5, 20, 50, 200)  # train examples of a novel client; without any it can only start
TEST = 200  # and test examples, at most
SAME, SHIFTED = "same: 2 classes each", "shifted: all 10 classes each"
COLOURS = {"zero_shot": ORANGE, "fit": BLUE, "fine_tune": GREEN, "local": PURPLE}
LINES = ("-", "--", ":", "-.")


def measure(runs: Sequence[Result]) -> pd.DataFrame:
    """A row per kind of novel client, number of examples and mode: pooled test accuracy of all of them."""
    (result,), rows = runs, []
    for kind, (train, test) in _owners(result).items():
        for count in EXAMPLES:
            clients = _clients([part[:count] for part in train], [part[:TEST] for part in test], result)
            reached = result.personalize(clients, modes=None if count else ["zero_shot"])
            rows += [
                {"method": name_of(result.config.method), "seed": result.config.seed, "clients": kind}
                | {"examples": count, "mode": mode, "accuracy": round(accuracy.pooled, 5)}
                for mode, accuracy in reached.reached.items()
            ]
    return pd.DataFrame(rows)


def _owners(result: Result) -> dict[str, tuple[list[np.ndarray], list[np.ndarray]]]:
    """{kind: (train, test) positions of each novel client}; both kinds share out the held-out examples."""
    partition, config = result.partition, result.config
    ids = held_out_clients(config, partition.train.sizes)
    random = np.random.default_rng(config.seed)
    same = [
        [random.permutation(part[client]) for client in ids] for part in (partition.train, partition.test)
    ]
    mixed = [np.array_split(random.permutation(np.concatenate(part)), len(ids)) for part in same]
    return {SAME: (same[0], same[1]), SHIFTED: (list(mixed[0]), list(mixed[1]))}


def _clients(train: list[np.ndarray], test: list[np.ndarray], result: Result) -> Dataset:
    data = load(result.config.data)
    if not any(map(len, train)):  # one more client, of whom nothing is tested: arrays cannot be empty
        train = [*train, np.zeros(1, int)]
    parts = []
    for examples, positions in ((data.train, train), (data.test, test)):
        assert isinstance(examples, Examples)
        where = np.concatenate(positions)
        groups = np.repeat(np.arange(len(positions)), [len(one) for one in positions])
        parts.append((examples.x[where], examples.y[where], groups))
    (x, y, groups), (x_test, y_test, groups_test) = parts
    classes = data.num_classes
    return from_arrays(x, y, x_test, y_test, groups=groups, groups_test=groups_test, num_classes=classes)


def table(found: pd.DataFrame) -> pd.DataFrame:
    """Mean ± sample std over seeds in percent: a column per number of train examples."""
    keys = ["clients", "method", "mode"]
    wide = (
        found.groupby([*keys, "examples"], sort=False)["accuracy"].agg(percent).unstack("examples").fillna("")
    )
    return wide.reset_index()


def picture(found: pd.DataFrame) -> Figure:
    """Accuracy by number of examples, a panel per kind of client; colours are modes, line styles methods."""
    figure = Picture(figsize=(11, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    methods = list(dict.fromkeys(found["method"]))
    some = found[found["examples"] > 0]
    once = some[(some["mode"] != "local") | (some["method"] == methods[0])]  # it is the same for all
    for axes, (kind, part) in zip(panels, once.groupby("clients", sort=False), strict=True):
        style(axes, str(kind), "train examples of a novel client", "")
        for (method, mode), line in part.groupby(["method", "mode"], sort=False):
            mean = 100 * line.groupby("examples")["accuracy"].mean()
            look = {"color": COLOURS[str(mode)], "ls": LINES[methods.index(method)], "marker": "o"}
            name = "local" if mode == "local" else f"{method}, {mode}"
            axes.plot(mean.index, mean, label=name, **look)
        axes.set_xscale("log")
        axes.set_xticks(EXAMPLES[1:], [str(count) for count in EXAMPLES[1:]])
        axes.minorticks_off()
    panels[0].set_ylabel("test accuracy (%)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", **LEGEND)
    return figure
