"""What clients' Transformers look at: attention weights, their rollout to the pixels, their distances."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedtp_jax.core.errors import UserError


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
