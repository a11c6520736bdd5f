"""The FedTP authors' PyTorch names and layouts as this package's leaves (github.com/zhyczy/FedTP).

`<model>_leaves` turns a PyTorch state, or any part of one, into leaves; leading axes such as rounds stay in
front. Constants and counters that are no leaves here (position table, num_batches_tracked) are left out.
Raises UserError for a tensor that the authors' model does not have, or that has another form there.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fedtp_jax.core.errors import UserError

QKV = ("query", "key", "value")
POOLED = 5  # side of the CNN's pixels before its linear layers, for images of 32x32

State = Mapping[str, Any]  # PyTorch's names and arrays
Leaf = tuple[str, np.ndarray]


def vit_leaves(state: State) -> dict[str, np.ndarray]:
    """ViT."""
    return _leaves(_vit_leaf, state, "ViT")


def cnn_leaves(state: State) -> dict[str, np.ndarray]:
    """CNN and CNN-B for images of 32x32 pixels."""
    return _leaves(_cnn_leaf, state, "CNN")


def transformer_leaves(state: State) -> dict[str, np.ndarray]:
    """Character Transformer."""
    return _leaves(_transformer_leaf, state, "Transformer")


def lstm_leaves(state: State) -> dict[str, np.ndarray]:
    """Character LSTM."""
    return _leaves(_lstm_leaf, state, "LSTM")


LEAVES_OF: dict[str, Callable[[State], dict[str, np.ndarray]]] = {
    "vit": vit_leaves,
    "cnn": cnn_leaves,
    "cnn_bn": cnn_leaves,
    "transformer": transformer_leaves,
    "lstm": lstm_leaves,
}


def linear_or_norm(path: str, kind: str, value: np.ndarray, norm: bool) -> Leaf:
    """torch Linear weights are (out, in), Flax kernels (in, out)."""
    if kind == "bias":
        return path + "/bias", value
    return (path + "/scale", value) if norm else (path + "/kernel", value.swapaxes(-1, -2))


def _leaves(
    convert: Callable[[str, np.ndarray], list[Leaf]], state: State, model: str
) -> dict[str, np.ndarray]:
    pairs = []
    for name, value in state.items():
        array = np.asarray(value)
        try:
            pairs += convert(name, array)
        except (AttributeError, LookupError, ValueError):
            raise UserError(
                f"init: {name} {list(array.shape)} is no tensor of the FedTP authors' {model}; give a state "
                "of that, or Flax variables"
            ) from None
    return {path if path.startswith("batch_stats/") else f"params/{path}": leaf for path, leaf in pairs}


def _vit_leaf(name: str, value: np.ndarray) -> list[Leaf]:
    simple = {
        "pos_embedding": "position_embedding",
        "cls_token": "class_token",
        "to_patch_embedding.1": "patch_embedding",
        "mlp_head.0": "head_norm",
        "mlp_head.1": "head",
    }
    if name in simple:
        return [(simple[name], value)]
    stem, kind = name.rsplit(".", 1)
    if stem in simple:
        return [linear_or_norm(simple[stem], kind, value, norm=stem == "mlp_head.0")]
    layer, part, rest = _parts(r"transformer\.layers\.(\d+)\.([01])\.(.*)", stem)
    block = f"block_{layer}/"
    if rest == "norm":
        return [linear_or_norm(block + ("attention_norm", "mlp_norm")[int(part)], kind, value, norm=True)]
    if rest == "fn.to_qkv":
        parts = np.split(value, 3, axis=-2)
        return [(f"{block}attention/{q}/kernel", p.swapaxes(-1, -2)) for q, p in zip(QKV, parts, strict=True)]
    names = {"fn.to_out.0": "attention/out", "fn.net.0": "mlp/up", "fn.net.3": "mlp/down"}
    return [linear_or_norm(block + names[rest], kind, value, norm=False)]


def _cnn_leaf(name: str, value: np.ndarray) -> list[Leaf]:
    layer, kind = name.split(".")
    group, number = layer[:-1], layer[-1]
    if group == "bn":
        norm = f"norm_{number}/"
        kinds = {"weight": "scale", "bias": "bias"}
        running = {"running_mean": "mean", "running_var": "var"}
        if kind in running:
            return [(f"batch_stats/{norm}{running[kind]}", value)]
        return [(norm + kinds[kind], value)] if kind in kinds else []
    path = "head" if layer == "fc3" else {"conv": "conv_", "fc": "dense_"}[group] + number
    if kind == "weight" and group == "conv":  # (out, in, h, w) -> [h, w, in, out]
        return [(path + "/kernel", np.moveaxis(value, (-2, -1, -3, -4), (-4, -3, -2, -1)))]
    if (
        kind == "weight" and layer == "fc1"
    ):  # columns in order (channel, row, column) -> (row, column, channel)
        pixels = value.reshape(*value.shape[:-1], -1, POOLED, POOLED)
        value = np.moveaxis(pixels, -3, -1).reshape(value.shape)
    return [linear_or_norm(path, kind, value, norm=False)]


def _transformer_leaf(name: str, value: np.ndarray) -> list[Leaf]:
    stem, kind = name.rsplit(".", 1)
    simple = {"encoder.src_word_emb": "embedding", "trg_word_prj": "head/kernel"}
    if stem in simple:
        return [(simple[stem], value if stem.startswith("encoder") else value.swapaxes(-1, -2))]
    if stem == "encoder.position_enc":
        return []
    if stem == "encoder.layer_norm":
        return [linear_or_norm("embedding_norm", kind, value, norm=True)]
    layer, rest = _parts(r"encoder\.layer_stack\.(\d+)\.(.*)", stem)
    names = {
        "slf_attn.w_qs": "attention/query",
        "slf_attn.w_ks": "attention/key",
        "slf_attn.w_vs": "attention/value",
        "slf_attn.fc": "attention/out",
        "slf_attn.layer_norm": "attention_norm",
        "pos_ffn.w_1": "mlp/up",
        "pos_ffn.w_2": "mlp/down",
        "pos_ffn.layer_norm": "mlp_norm",
    }
    return [linear_or_norm(f"block_{layer}/{names[rest]}", kind, value, norm="norm" in rest)]


def _lstm_leaf(name: str, value: np.ndarray) -> list[Leaf]:
    stem, kind = name.rsplit(".", 1)
    if stem == "encoder":
        return [("embedding", value)]
    if stem == "decoder":
        return [linear_or_norm("head", kind, value, norm=False)]
    kind, side, layer = _parts(r"(weight|bias)_(ih|hh)_l(\d+)", kind)
    path = f"layer_{layer}/" + {"ih": "input", "hh": "recurrent"}[side]
    return [linear_or_norm(path, kind, value, norm=False)]


def _parts(pattern: str, name: str) -> tuple[str, ...]:
    """The groups of a pattern that all of the name fits; ValueError where it does not."""
    if (found := re.fullmatch(pattern, name)) is None:
        raise ValueError(name)
    return found.groups()
