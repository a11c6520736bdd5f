"""Pictures of what clients are and see: embeddings, gains over another run, attention."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedtp_jax.plots import BLUE, GREEN, GRID, INK, LEGEND, SKY, VERMILION, Picture, style

MOST_LABELLED = 32  # lanes whose clients are named


def embedding_map(
    embeddings: np.ndarray,
    dominant: np.ndarray,
    projection: Literal["pca", "tsne"] = "pca",
    what: str = "class",
) -> Figure:
    """Clients by their embeddings in two dimensions.

    Args:
      embeddings: [N, E].
      dominant: [N] the class of which each client holds most train examples: its colour and number.
      projection: principal components, or t-SNE.
      what: "class" or "superclass".
    """
    figure = Picture(figsize=(6.4, 5), layout="constrained")
    axes = figure.subplots()
    title = f"Embeddings of {len(embeddings):,} clients, by the {what} they hold most of"
    points, xlabel, ylabel = _project(embeddings, projection)
    style(axes, title, xlabel, ylabel)
    palette = colormaps["tab20"].colors  # type: ignore[attr-defined]
    for number, which in enumerate(np.unique(dominant)):
        at, label = points[dominant == which], str(which)
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


def lane_schedule(stays: np.ndarray, devices: int, lanes: int, title: str) -> Figure:
    """A wave as a Gantt picture: a row per lane of each device, a bar per client; hatched where a lane idles.

    Args:
      stays: [K, 5] device, lane, client, first tick, tick after the last.
      devices, lanes: how many, and how many on each.
      title: to which the wave's occupancy is added.
    """
    rows = [(device, lane) for device in range(devices) for lane in range(lanes)]
    row, ticks = stays[:, 0] * lanes + stays[:, 1], stays[:, 4] - stays[:, 3]
    until, height = stays[:, 4].max(), min(1.3 + 0.34 * len(rows), 8)
    figure = Picture(figsize=(10, height + 0.7), layout="constrained")
    axes = figure.subplots()
    title += f", occupancy {ticks.sum() / (until * len(rows)):.2f}"
    style(axes, title, "tick (one local step of every lane)", "", grid="x")
    idle = axes.barh(range(len(rows)), until, 0.8, color="white", edgecolor=GRID, hatch="////", label="idle")
    bars = axes.barh(row, ticks, 0.8, stays[:, 3], color=SKY, edgecolor="white", label="a client")
    room = until / 60  # what a number of three digits needs
    if len(rows) <= MOST_LABELLED:
        names = [f"device {device}, lane {lane}" for device, lane in rows]
        axes.set_yticks(range(len(rows)), names)
        for bar, client in zip(bars, stays[:, 2], strict=True):
            if bar.get_width() >= room:
                x, y = bar.get_center()
                axes.text(x, y, str(client), ha="center", va="center", fontsize=8, color=INK)
    else:
        axes.set_ylabel("lane")
    axes.invert_yaxis()
    axes.set_xlim(0, until)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(handles=[bars, idle], loc="outside lower right", ncols=2, **LEGEND)
    return figure


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


def attention_maps(images: np.ndarray, maps: Mapping[str, np.ndarray]) -> Figure:
    """A row per image: the image, and what the model of each run looks at in it.

    Args:
      images: [B, H, W, C].
      maps: {name of a run: [B, patches]} as `attention.rollout` gives them.
    """
    count, columns = len(images), 1 + len(maps)
    figure = Picture(figsize=(1.9 * columns, 1.9 * count + 0.4), layout="constrained")
    figure.supxlabel("the brighter, the more of a patch reaches the class token", fontsize=9)
    grid = figure.subplots(count, columns, squeeze=False)
    for row, image in zip(range(count), images, strict=True):
        shown = image.squeeze() if image.shape[-1] == 1 else image
        for column, (name, looks) in enumerate([("image", None), *maps.items()]):
            axes = grid[row][column]
            axes.axis("off")
            axes.imshow(shown, cmap="gray")
            if row == 0:
                axes.set_title(name, fontsize=10)
            if looks is not None:
                side = int(np.sqrt(looks.shape[-1]))
                height, width = image.shape[:2]
                heat = looks[row].reshape(side, side).repeat(height // side, 0).repeat(width // side, 1)
                axes.imshow(heat, cmap="inferno", alpha=0.65)
    return figure


def distance_matrix(distances: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """[K, K] distances as a heat map, each written into its cell if there are few."""
    size = 2.2 + 0.42 * len(names)
    figure = Picture(figsize=(size + 0.8, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(distances, cmap="cividis", vmin=0)
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    if len(names) <= 12:
        middle = distances.max() / 2
        for (i, j), value in np.ndenumerate(distances):
            ink = INK if value > middle else "white"
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color=ink)
    figure.colorbar(image, ax=axes, shrink=0.8)
    return figure
