"""How far apart attention is: of one client under several methods, and of several clients under one.

On a client's own test images, the total variation between the distributions by which tokens look at each
other, averaged over tokens, heads, blocks and images: 0 for equal ones, 1 for those that share nothing. With
local models on one side and averaged or personalised ones on the other it says what averaging does to
attention.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fedtp_jax import Result
from fedtp_jax.config import name_of
from fedtp_jax.data.dataset import Examples
from fedtp_jax.data.sources import load
from fedtp_jax.evaluation.attention import attention_distances, attention_weights
from fedtp_jax.plots.style import INK, Picture

CLIENTS, IMAGES = 10, 32


def measure(runs: Sequence[Result]) -> pd.DataFrame:
    """A row per pair of methods, which are one where clients are compared; all runs have one partition."""
    test, held = load(runs[0].config.data).test, runs[0].partition.test
    assert isinstance(test, Examples)
    names = [name_of(run.config.method) for run in runs]
    assert len({*names}) == len(names), "methods are told by their names"
    own = np.mean(
        [_on([(run, client) for run in runs], test.x[held[client][:IMAGES]]) for client in range(CLIENTS)],
        axis=0,
    )
    pairs = itertools.combinations(range(len(runs)), 2)
    found = [(names[i], names[j], own[i, j]) for i, j in pairs]
    common = test.x[np.concatenate([held[client][: IMAGES // CLIENTS + 1] for client in range(CLIENTS)])]
    for name, run in zip(names, runs, strict=True):
        between = _on([(run, client) for client in range(CLIENTS)], common)
        found.append((name, name, between.sum() / (CLIENTS * (CLIENTS - 1))))
    table = pd.DataFrame(found, columns=["one", "other", "distance"]).round(5)
    return table.assign(partition=name_of(runs[0].config.partition), seed=runs[0].config.seed)


def maps(runs: Sequence[Result]) -> Figure:
    """What the first client's model looks at under each method."""
    return runs[0].plot_attention(0, *runs[1:])


def _on(models: Sequence[tuple[Result, int]], images: np.ndarray) -> np.ndarray:
    """[K, K] distances of the attention of K clients' models on `images`."""
    return attention_distances([attention_weights(run.intermediates(k, images)) for run, k in models])


def table(found: pd.DataFrame) -> pd.DataFrame:
    """Mean ± sample std over seeds: a row per pair, a column per partition."""

    def words(values: pd.Series) -> str:
        return f"{values.mean():.3f}" + (f" ± {values.std():.3f}" if len(values) > 1 else "")

    same = found["one"] == found["other"]
    pair = np.where(same, found["one"] + ", between clients", found["one"] + " and " + found["other"])
    wide = found.assign(pair=pair).groupby(["pair", "partition"], sort=False)["distance"].agg(words)
    return wide.unstack("partition").reset_index()


def picture(found: pd.DataFrame) -> Figure:
    """A panel per partition: mean distance of every pair of methods; on the diagonal that between clients."""
    names = list(dict.fromkeys(found["one"]))
    partitions = list(dict.fromkeys(found["partition"]))
    figure = Picture(figsize=(4.8 * len(partitions) + 0.8, 4.8), layout="constrained")
    panels, mean = figure.subplots(1, len(partitions), squeeze=False)[0], None
    for axes, partition in zip(panels, partitions, strict=True):
        part = found[found["partition"] == partition]
        wide = part.pivot_table(index="one", columns="other", values="distance").reindex(names, columns=names)
        mean = wide.to_numpy(float)
        image = axes.imshow(mean, cmap="cividis", vmin=0, vmax=float(found["distance"].max()))
        axes.set_title(str(partition), loc="left", fontsize=11)
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks(range(len(names)), names)
        for (i, j), value in np.ndenumerate(mean):
            if np.isfinite(value):
                colour = "white" if value < 0.6 * found["distance"].max() else INK
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour, fontweight="bold")
    figure.colorbar(image, ax=panels, shrink=0.8, label="distance; on the diagonal between clients")
    return figure
