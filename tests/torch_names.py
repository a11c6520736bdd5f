"""The authors' PyTorch names and layouts as this package's leaves and back, for the parity tests.

`<model>_leaves` turns a PyTorch state, or any part of one, into leaves; leading axes such as rounds stay in
front. Constants and counters that are no leaves here (position table, num_batches_tracked) are left out.
"""

import re

import numpy as np

QKV = ("query", "key", "value")
POOLED = 5  # side of the CNN's pixels before its linear layers, for images of 32x32

TABLE = "embeddings"  # all clients' embeddings, which their hypernetworks hold as one matrix


def vit_leaves(state):
    """ViT."""
    return _leaves(_vit_leaf, state)


def cnn_leaves(state):
    """CNN and CNN-B for images of 32x32 pixels."""
    return _leaves(_cnn_leaf, state)


def transformer_leaves(state):
    """Character Transformer."""
    return _leaves(_transformer_leaf, state)


def lstm_leaves(state):
    """Character LSTM."""
    return _leaves(_lstm_leaf, state)


def hypernetwork_leaves(state, dim=None):
    """ViTHyper, ShakesHyper or CNNHyper; `dim` is the width of the tokens, CNNs need none.

    The rows of a PyTorch head are the flattened PyTorch tensor that it generates, those of ours the leaf.
    """
    leaves = {}
    for name, value in state.items():
        stem, kind = name.rsplit(".", 1)
        if stem == "embeddings":
            leaves[TABLE] = np.asarray(value)
        elif stem.startswith("mlp."):
            trunk = f"params/trunk_{int(stem.removeprefix('mlp.')) // 2}"
            leaves.update([linear_or_norm(trunk, kind, np.asarray(value), norm=False)])
        else:
            leaves.update(_hyper_head(stem, kind, np.asarray(value), dim))
    return leaves


def torch_state(leaves, convert, shapes):
    """Leaves back in PyTorch's layout, {name: array}: the inverse of `convert`, one of the functions above.

    `shapes` gives the whole PyTorch tensors' shapes. Leading axes of the leaves stay in front, and tensors
    that have no leaf are left out.
    """
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    starts = np.cumsum([0, *sizes])
    where = {n: slice(a, a + size) for n, a, size in zip(shapes, starts, sizes, strict=False)}
    numbers = np.arange(starts[-1])
    places = convert({n: numbers[where[n]].reshape(shape) for n, shape in shapes.items()})
    places = {path: place for path, place in places.items() if path in leaves}
    path, place = next(iter(places.items()))
    lead = leaves[path].shape[: leaves[path].ndim - place.ndim]
    flat, known = np.zeros((*lead, len(numbers)), np.float32), np.zeros(len(numbers), bool)
    for path, place in places.items():
        flat[..., place.ravel()] = np.asarray(leaves[path]).reshape(*lead, -1)
        known[place.ravel()] = True
    return {n: flat[..., where[n]].reshape(*lead, *shapes[n]) for n in shapes if known[where[n]].all()}


def sampled(state, names, lead=0):
    """The fixtures' `names` out of a PyTorch state: `x[::s]` is every s-th row of x, after `lead` axes."""
    picked = {}
    for name in names:
        whole, step = re.fullmatch(r"(.*?)(?:\[::(\d+)\])?", name).groups()
        rows = slice(None, None, int(step)) if step else slice(None)
        picked[name] = state[whole][(slice(None),) * lead + (rows,)] if step else state[whole]
    return picked


def linear_or_norm(path, kind, value, norm):
    """torch Linear weights are (out, in), Flax kernels (in, out)."""
    if kind == "bias":
        return path + "/bias", value
    return (path + "/scale", value) if norm else (path + "/kernel", value.swapaxes(-1, -2))


def _leaves(convert, state):
    pairs = [pair for name, value in state.items() for pair in convert(name, np.asarray(value))]
    return {path if path.startswith("batch_stats/") else f"params/{path}": leaf for path, leaf in pairs}


def _vit_leaf(name, value):
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
    layer, part, rest = re.fullmatch(r"transformer\.layers\.(\d+)\.([01])\.(.*)", stem).groups()
    block = f"block_{layer}/"
    if rest == "norm":
        return [linear_or_norm(block + ("attention_norm", "mlp_norm")[int(part)], kind, value, norm=True)]
    if rest == "fn.to_qkv":
        parts = np.split(value, 3, axis=-2)
        return [(f"{block}attention/{q}/kernel", p.swapaxes(-1, -2)) for q, p in zip(QKV, parts, strict=True)]
    names = {"fn.to_out.0": "attention/out", "fn.net.0": "mlp/up", "fn.net.3": "mlp/down"}
    return [linear_or_norm(block + names[rest], kind, value, norm=False)]


def _cnn_leaf(name, value):
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


def _transformer_leaf(name, value):
    stem, kind = name.rsplit(".", 1)
    simple = {"encoder.src_word_emb": "embedding", "trg_word_prj": "head/kernel"}
    if stem in simple:
        return [(simple[stem], value if stem.startswith("encoder") else value.swapaxes(-1, -2))]
    if stem == "encoder.position_enc":
        return []
    if stem == "encoder.layer_norm":
        return [linear_or_norm("embedding_norm", kind, value, norm=True)]
    layer, rest = re.fullmatch(r"encoder\.layer_stack\.(\d+)\.(.*)", stem).groups()
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


def _lstm_leaf(name, value):
    stem, kind = name.rsplit(".", 1)
    if stem == "encoder":
        return [("embedding", value)]
    if stem == "decoder":
        return [linear_or_norm("head", kind, value, norm=False)]
    kind, side, layer = re.fullmatch(r"(weight|bias)_(ih|hh)_l(\d+)", kind).groups()
    path = f"layer_{layer}/" + {"ih": "input", "hh": "recurrent"}[side]
    return [linear_or_norm(path, kind, value, norm=False)]


def _hyper_head(stem, kind, value, dim):
    """The leaves of one head of a hypernetwork; value [..., rows(, hidden)]."""
    if kind == "weight":  # the hidden axis becomes a leading one of the generated tensor
        value = value.swapaxes(-1, -2)
    lead, rows = value.shape[:-1], value.shape[-1]
    name, shape, convert = _generated(stem, dim, rows)
    generated = convert({name: value.reshape(*lead, *shape)})
    leaf_name = {"weight": "kernel", "bias": "bias"}[kind]
    return {
        f"params/head:{path.replace('/', '.')}/{leaf_name}": leaf.reshape(*lead, -1)
        for path, leaf in generated.items()
    }


def _generated(stem, dim, rows):
    """The PyTorch tensor that a head of so many rows generates: its name, its shape, its model's function."""
    group, _, block = stem.partition("_value_list.")
    if group == "to_qkv":
        return f"transformer.layers.{block}.0.fn.to_qkv.weight", (-1, dim), vit_leaves
    if block:
        name = {"wqs": "w_qs", "wks": "w_ks", "wvs": "w_vs"}[group]
        return f"encoder.layer_stack.{block}.slf_attn.{name}.weight", (-1, dim), transformer_leaves
    layer, kind = stem.split("_")
    name = {"c": "conv", "l": "fc"}[layer[0]] + layer[1]
    if kind == "bias":
        return f"{name}.bias", (-1,), cnn_leaves
    kernels = round((rows / 50) ** 0.5)  # conv2 has 2 * kernels * kernels * 25 weights
    shapes = {
        "conv1": (-1, 3, 5, 5),
        "conv2": (-1, kernels, 5, 5),
        "fc1": (120, -1),
        "fc2": (84, -1),
        "fc3": (-1, 84),
    }
    return f"{name}.weight", shapes[name], cnn_leaves
