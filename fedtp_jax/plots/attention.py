"""What clients' Transformers look at, drawn on the images, and how far apart they are."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from fedtp_jax.plots.style import INK, Picture


def attention_maps(images: np.ndarray, maps: Mapping[str, np.ndarray]) -> Figure:
    """A row per image: the image, and what the model of each run looks at in it.

    Args:
      images: [B, H, W, C].
      maps: {name of a run: [B, patches]} as `evaluation.attention.rollout` gives them.
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
