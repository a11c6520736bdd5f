"""What clients' Transformers look at, drawn on the images, and how far apart they are."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from fedtp_jax.core.errors import UserError
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
        shown = _visible(image)
        for column, (name, looks) in enumerate([("image", None), *maps.items()]):
            axes = grid[row][column]
            axes.axis("off")
            axes.imshow(shown, cmap="gray")
            if row == 0:
                axes.set_title(name, fontsize=10)
            if looks is not None:
                side = patch_side(image.shape[0], image.shape[1], looks.shape[-1])
                heat = looks[row].reshape(image.shape[0] // side, image.shape[1] // side)
                axes.imshow(heat.repeat(side, 0).repeat(side, 1), cmap="inferno", alpha=0.65)
    return figure


def _visible(image: np.ndarray) -> np.ndarray:
    """[H, W] or [H, W, 3] as Matplotlib shows it, of [H, W, C]: floats from 0 to 1, other channels' mean."""
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = (image - low) / max(high - low, 1e-12)
    if image.shape[-1] == 3:
        return image
    return np.asarray(image.mean(axis=-1))


def patch_side(height: int, width: int, patches: int) -> int:
    """Pixels of a patch's side, where so many square patches make an image; UserError where none do."""
    side = math.isqrt(height * width // patches)
    if side == 0 or side**2 * patches != height * width or height % side or width % side:
        raise UserError(
            f"images: {height} x {width} pixels are not {patches} square patches, so what the model looks at "
            "cannot be drawn on them; Result.intermediates has the weights as numbers"
        )
    return side


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
