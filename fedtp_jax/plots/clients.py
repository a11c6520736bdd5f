"""Clients as pictures: their accuracies, who gains over another run, and their embeddings."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedtp_jax.plots.partition import MOST_COLUMNS
from fedtp_jax.plots.style import (
    BLUE,
    GREEN,
    INK,
    LEGEND,
    ORANGE,
    SKY,
    THOUSANDS,
    VERMILION,
    Picture,
    style,
)

MOST_BARS = 60  # clients drawn as single bars


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


def embedding_map(
    embeddings: np.ndarray,
    dominant: Sequence[str],
    names: Sequence[str],
    projection: Literal["pca", "tsne"] = "pca",
    what: str = "class",
) -> Figure:
    """Clients by their embeddings in two dimensions.

    Args:
      embeddings: [N, E].
      dominant: [N] name of the class of which each client holds most train examples: its colour and word.
      names: all of these in their order.
      projection: principal components, or t-SNE.
      what: "class" or "superclass".
    """
    figure = Picture(figsize=(6.4, 5), layout="constrained")
    axes = figure.subplots()
    title = f"Embeddings of {len(embeddings):,} clients, by the {what} they hold most of"
    points, xlabel, ylabel = _project(embeddings, projection)
    style(axes, title, xlabel, ylabel)
    palette = colormaps["tab20"].colors  # type: ignore[attr-defined]
    for number, label in enumerate(name for name in names if name in dominant):
        at = points[np.array(dominant) == label]
        colour = palette[min(number, 19)]
        axes.scatter(at[:, 0], at[:, 1], color=colour, s=42, edgecolor=INK, linewidth=0.5, label=label)
        if len(points) <= 100:  # a second sign beside the colour
            for x, y in at:
                axes.annotate(label, (x, y), (4, 3), textcoords="offset points", fontsize=8, color=INK)
    if len(points) > 100:
        axes.legend(title=what, **LEGEND)
    return figure


def _project(embeddings: np.ndarray, projection: str) -> tuple[np.ndarray, str, str]:
    """[N, 2] and what the axes are."""
    if projection == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(30, (len(embeddings) - 1) / 3)
        points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(embeddings)
        return points, "t-SNE: neighbours count, distances do not", ""
    from sklearn.decomposition import PCA

    pca = PCA(2).fit(embeddings)
    first, second = 100 * pca.explained_variance_ratio_
    names = f"first component ({first:.0f} % of the variance)", f"second component ({second:.0f} %)"
    return pca.transform(embeddings), *names


def gains(own: np.ndarray, other: np.ndarray, name: str, other_name: str) -> Figure:
    """Who gains and who loses: each client's accuracy minus that in another run, sorted.

    Args:
      own, other: [N] fractions, NaN for clients that were not tested.
      name, other_name: of the two runs.
    """
    both = np.isfinite(own) & np.isfinite(other)
    change = 100 * np.sort((own - other)[both])
    lose, win = int((change < 0).sum()), int((change > 0).sum())
    figure = Picture(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots()
    style(axes, f"{name} against {other_name}: {win:,} clients gain, {lose:,} lose", "client, sorted", "")
    axes.set_ylabel("change in accuracy (points)")
    edges = np.arange(len(change) + 1) - 0.5
    for mask, colour, hatch in ((change < 0, VERMILION, "///"), (change >= 0, BLUE, "")):
        shown = np.where(mask, change, 0.0)
        axes.stairs(shown, edges, fill=True, facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0.3)
    mean = float(change.mean()) if len(change) else 0.0
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.axhline(0, color=INK, linewidth=1)
    axes.axhline(mean, color=GREEN, ls="--", linewidth=1.5, label=f"mean: {mean:+.1f} points")
    axes.legend(**LEGEND)
    return figure
