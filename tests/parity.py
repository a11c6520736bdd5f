"""What the parity tests share: the fixtures, the tolerances that their README advises, their models."""

import json

import numpy as np
from paths import PARITY

from fedtp_jax.models.cnn import Cnn
from fedtp_jax.models.inputs import Inputs
from fedtp_jax.models.lstm import Lstm
from fedtp_jax.models.text import Transformer
from fedtp_jax.models.vit import Vit

STATES, LOGITS, LOSSES = 1e-5, 1e-4, 1e-4


def load(name):
    """A fixture and its configuration."""
    with np.load(PARITY / f"{name}.npz") as npz:
        arrays = dict(npz)
    return arrays, json.loads(str(arrays["config"]))


def under(fixture, prefix):
    return {name[len(prefix) :]: fixture[name] for name in fixture if name.startswith(prefix)}


def close(actual, expected, atol):
    assert set(actual) == set(expected)
    for path, leaf in expected.items():
        np.testing.assert_allclose(np.asarray(actual[path]), leaf, rtol=0, atol=atol, err_msg=path)


def images(x, upsample=1):
    """PyTorch's [n, channels, height, width] as [n, height, width, channels], every pixel repeated."""
    x = np.asarray(x).transpose(0, 2, 3, 1).repeat(upsample, axis=1).repeat(upsample, axis=2)
    return np.ascontiguousarray(x)


def vit(sizes):
    return Vit(
        num_classes=sizes.get("num_classes", 10),
        patch_size=sizes["patch_size"],
        dim=sizes["dim"],
        depth=sizes["depth"],
        heads=sizes["heads"],
        dim_head=sizes["dim_head"],
        mlp_dim=sizes["mlp_dim"],
        dropout=0.0,
    )


def cnn(sizes, batch_norm=False):
    return Cnn(sizes.get("out_dim", 10), sizes["n_kernels"], batch_norm)


def transformer(sizes):
    return Transformer(
        sizes["vocabulary"],
        Inputs("text", (), sizes["vocabulary"]),
        dim=sizes["d_model"],
        depth=sizes["depth"],
        heads=sizes["heads"],
        dim_head=sizes["d_k"],
        mlp_dim=sizes["d_inner"],
        dropout=0.0,
        causal=False,
    )


def lstm(sizes):
    inputs = Inputs("text", (), sizes["vocabulary"])
    return Lstm(sizes["vocabulary"], inputs, sizes["embed"], sizes["hidden"], sizes["layers"])
