"""The authors' PyTorch names and layouts as this package's leaves, for the parity tests."""

import re

import numpy as np

QKV = ("query", "key", "value")


def vit_leaves(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A PyTorch ViT state (or any part of one) as leaves; leading axes such as rounds stay in front."""
    leaves = {}
    for name, value in state.items():
        for path, leaf in _vit_leaf(name, np.asarray(value)):
            leaves["params/" + path] = leaf
    return leaves


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


def linear_or_norm(path, kind, value, norm):
    """torch Linear weights are (out, in), Flax kernels (in, out)."""
    if kind == "bias":
        return path + "/bias", value
    return (path + "/scale", value) if norm else (path + "/kernel", value.swapaxes(-1, -2))


def hypernetwork_leaves(state, dim):
    """A PyTorch ViTHyper state as leaves; `dim` is the token width of the ViT."""
    leaves = {}
    for name, value in state.items():
        value = np.asarray(value)
        if name == "embeddings.weight":
            leaves["params/embedding"] = value
            continue
        stem, kind = name.rsplit(".", 1)
        group, number = stem.rsplit(".", 1)
        if group == "mlp":
            path, leaf = linear_or_norm(f"params/trunk_{int(number) // 2}", kind, value, norm=False)
            leaves[path] = leaf
            continue
        assert group == "to_qkv_value_list"
        # a head's rows are the flattened (3 * inner, dim) weight; ours are (dim, inner) kernels
        lead = value.ndim - (2 if kind == "weight" else 1)
        wide = value.reshape(*value.shape[:lead], 3, -1, dim, *value.shape[lead + 1 :])
        for index, q in enumerate(QKV):
            leaf = np.take(wide, index, axis=lead).swapaxes(lead, lead + 1)
            leaf = leaf.reshape(*value.shape[:lead], -1, *value.shape[lead + 1 :])
            head = f"params/head:params.block_{number}.attention.{q}.kernel"
            if kind == "weight":
                leaves[head + "/kernel"] = leaf.swapaxes(-1, -2)
            else:
                leaves[head + "/bias"] = leaf
    return leaves
