"""Clients as pictures: their accuracies, and their embeddings."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from fedtp_jax.config.metrics import headline_of
from fedtp_jax.core.client_names import IN_PICTURES, called
from fedtp_jax.plots.partition import MOST_COLUMNS
from fedtp_jax.plots.style import AXIS, INK, LEGEND, ORANGE, SKY, THOUSANDS, VERMILION, Picture, style

MOST_BARS = 60  # clients drawn as single bars
MOST_NAMED = 15  # embeddings beside which the client's name stands


def client_accuracies(clients: pd.DataFrame) -> Figure:
    """Test accuracy of every client that was tested, worst first, with mean and worst tenth.

    Args:
      clients: a row per client: client, name (or none has one), test_examples, test_accuracy (fraction, NaN
        of one that was not tested), in regression test_mae.
    """
    measure = headline_of(clients.columns)
    tested = worst_first(clients)
    values = tested[f"test_{measure}"].to_numpy(float) * (100 if measure == "accuracy" else 1)
    count, without = len(values), int((clients["test_examples"] == 0).sum())
    others = {"not evaluated": len(clients) - count - without, "without test examples": without}
    title = f"Clients tested: {count:,}" + "".join(f", {what}: {n:,}" for what, n in others.items() if n)
    names = dict(zip(clients["client"], clients["name"], strict=True)) if "name" in clients else {}
    figure = Picture(figsize=(10, 3.6 + 1.2 * (bool(names) and count <= MOST_BARS)), layout="constrained")
    axes = figure.subplots()
    style(axes, title, "client, worst first", AXIS[measure])
    if measure == "accuracy":
        axes.set_ylim(0, 100)
    if not count:  # the title says why
        return figure
    worst = -(-count // 10)
    if count <= MOST_BARS:
        axes.bar(np.arange(count), values, width=0.8, color=[ORANGE] * worst + [SKY] * (count - worst))
        labels = [called(client, names, IN_PICTURES) for client in tested["client"]]
        size = 9 if count <= 30 else 7
        axes.set_xticks(np.arange(count), labels, fontsize=size, rotation=90 if names else 0)
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
    told, decile_told = (f"{v:.1f} %" if measure == "accuracy" else f"{v:.4g}" for v in (mean, decile))
    axes.axhline(mean, color=INK, linewidth=1.5, label=f"mean of clients: {told}")
    axes.axhline(decile, color=VERMILION, ls="--", linewidth=1.5, label=f"worst tenth: {decile_told}")
    figure.legend(loc="outside lower right", ncols=2, **LEGEND)
    return figure


def worst_first(clients: pd.DataFrame) -> pd.DataFrame:
    """The rows of clients that were tested, those that do worst on top."""
    measure = headline_of(clients.columns)
    tested = clients.dropna(subset=f"test_{measure}")
    return tested.sort_values([f"test_{measure}", "client"], ascending=[measure == "accuracy", True])


@dataclasses.dataclass(frozen=True)
class Embedded:
    """Clients by their embeddings in two dimensions.

    Attributes:
      points: [N, 2].
      axes: what these are.
      dominant: [N] name of the class of which each client holds most train examples: its colour and word.
      names: all of these in their order.
      what: "class" or "superclass"; "": neither, and no word beside them.
      clients: [N] names, which stand beside few of them in place of the class; or none.
    """

    points: np.ndarray
    axes: tuple[str, str]
    dominant: Sequence[str]
    names: Sequence[str]
    what: str = "class"
    clients: Sequence[str] = ()


def embedding_map(embedded: Embedded) -> Figure:
    """Clients as points, by their embeddings."""
    figure = Picture(figsize=(6.4, 5), layout="constrained")
    axes = figure.subplots()
    points, what, clients, dominant = embedded.points, embedded.what, embedded.clients, embedded.dominant
    by = f", by the {what} they hold most of" if what else ""
    style(axes, f"Embeddings of {len(points):,} clients{by}", *embedded.axes)
    palette = colormaps["tab20"].colors  # type: ignore[attr-defined]
    named = len(clients) > 0 and len(points) <= MOST_NAMED
    for number, label in enumerate(name for name in embedded.names if name in dominant):
        at = points[np.array(dominant) == label]
        colour = palette[min(number, 19)]
        axes.scatter(at[:, 0], at[:, 1], color=colour, s=42, edgecolor=INK, linewidth=0.5, label=label)
        if len(points) <= 100 and what and not named:  # a second sign beside the colour
            for x, y in at:
                axes.annotate(label, (x, y), (4, 3), textcoords="offset points", fontsize=8, color=INK)
    for client, (x, y) in enumerate(points if named else ()):
        word = called(client, clients, IN_PICTURES)
        axes.annotate(word, (x, y), (4, 3), textcoords="offset points", fontsize=7, color=INK)
    if what and (named or len(points) > 100):
        axes.legend(title=what, **LEGEND)
    return figure


def project(
    embeddings: np.ndarray, projection: Literal["pca", "tsne"] = "pca"
) -> tuple[np.ndarray, tuple[str, str]]:
    """([N, 2] of [N, E], by principal components or t-SNE; what the axes are)."""
    if projection == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(30, (len(embeddings) - 1) / 3)
        points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(embeddings)
        return points, ("t-SNE: neighbours count, distances do not", "")
    from sklearn.decomposition import PCA

    pca = PCA(2).fit(embeddings)
    first, second = 100 * pca.explained_variance_ratio_
    names = f"first component ({first:.0f} % of the variance)", f"second component ({second:.0f} %)"
    return pca.transform(embeddings), names
