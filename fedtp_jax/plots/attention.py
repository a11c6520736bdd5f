"""What clients' Transformers look at: attention weights, their rollout to the pixels, their distances."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fedtp_jax.core.errors import UserError
from fedtp_jax.plots.style import INK, Picture


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


def attention_weights(sown: Mapping[str, Any]) -> np.ndarray:
    """[depth, B, heads, S, S] weights among what a ViT sows (`Result.intermediates`).

    Entry [..., s, t] is how much token s takes of token t; token 0 is the class token. Raises UserError for a
    model that sows no weights.
    """
    blocks = sorted((name for name in sown if name.startswith("block_")), key=lambda name: int(name[6:]))
    if not blocks or "attention" not in sown[blocks[0]].get("attention", {}):
        raise UserError(
            "model: gives no attention weights; choose vit, or sow them in a model of your own: "
            "self.sow('intermediates', 'attention', weights) in block_0/attention, block_1/attention, ..."
        )
    return np.stack([np.asarray(sown[name]["attention"]["attention"][0]) for name in blocks])


def rollout(weights: np.ndarray) -> np.ndarray:
    """[B, S - 1] how much of each patch reaches the class token, with weights [depth, B, heads, S, S].

    They sum to 1.

    Attention rollout: products over the blocks of (mean of heads + identity) / 2 (Abnar & Zuidema, 2020,
    arXiv 2005.00928).
    """
    mean = weights.mean(axis=2)
    steps = (mean + np.eye(mean.shape[-1])) / 2
    whole = steps[0]
    for step in steps[1:]:
        whole = step @ whole
    seen = whole[:, 0, 1:]
    return np.asarray(seen / seen.sum(-1, keepdims=True))


def attention_distances(weights: Sequence[np.ndarray]) -> np.ndarray:
    """[K, K] distances between the attention of K models on the same inputs, in [0, 1].

    The total variation between the distributions by which each token looks, averaged over tokens, heads,
    inputs and blocks. `weights`: [depth, B, heads, S, S] of each model.
    """
    found = np.zeros((len(weights), len(weights)))
    for i, one in enumerate(weights):
        for j, other in enumerate(weights[:i]):
            found[i, j] = found[j, i] = np.abs(one - other).sum(-1).mean() / 2
    return found
