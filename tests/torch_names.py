"""The authors' hypernetworks as this package's leaves, and leaves back in PyTorch's layout."""

import re

import numpy as np

from fedtp_jax.export.torch_names import cnn_leaves, linear_or_norm, transformer_leaves, vit_leaves

TABLE = "embeddings"  # all clients' embeddings, which their hypernetworks hold as one matrix


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
