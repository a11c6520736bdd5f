"""Models by name."""

import dataclasses
from typing import Literal

from fedtp_jax.config.fields import option, section

POOL = "which positions' output the one label of an example is read from: their mean's, or the last one's"


@dataclasses.dataclass(frozen=True)
class Adapter:
    """scale * Up(tanh(Down x)), added to the keys and values of every block (FedPerfix: Sun et al., 2023)."""

    size: int | None = option(None, "width between Down and Up (the authors: 256); default: no adapter", ge=1)
    scale: float = option(1.5, "factor of what is added", gt=0)


@dataclasses.dataclass(frozen=True)
class Vit:
    """Vision Transformer, pre-norm, class token (Dosovitskiy et al., 2021), in the FedTP authors' sizes."""

    patch_size: int = option(4, "side of a square patch in pixels; divides the image's sides", ge=1)
    dim: int = option(128, "width of a token", ge=1)
    depth: int = option(6, "number of blocks", ge=1)
    heads: int = option(8, "attention heads", ge=1)
    dim_head: int = option(64, "width of one head", ge=1)
    mlp_dim: int = option(256, "hidden width of the MLP", ge=1)
    dropout: float = option(0.1, "dropout rate in training", ge=0, lt=1)
    adapter: Adapter = section(Adapter, "an adapter beside attention")


@dataclasses.dataclass(frozen=True)
class Cnn:
    """LeNet-style: two 5x5 convolutions with pooling, two hidden layers; images of at least 16x16 pixels."""

    kernels: int = option(16, "channels of the first convolution; the second has twice as many", ge=1)


@dataclasses.dataclass(frozen=True)
class CnnBn(Cnn):
    """cnn with batch normalisation before every activation (Ioffe & Szegedy, 2015)."""


@dataclasses.dataclass(frozen=True)
class Cnn1d:
    """Two convolutions over time, the mean over time and a hidden layer; series of at least 14 steps."""

    kernels: int = option(32, "channels of the first convolution; the second has twice as many", ge=1)
    hidden: int = option(64, "width of the hidden layer", ge=1)


@dataclasses.dataclass(frozen=True)
class Mlp:
    """Multilayer perceptron with ReLU, on features, or on series and images flattened."""

    hidden: int = option(128, "width of a hidden layer", ge=1)
    layers: int = option(2, "hidden layers; 0: multinomial logistic regression", ge=0)
    dropout: float = option(0.0, "dropout rate in training", ge=0, lt=1)


@dataclasses.dataclass(frozen=True)
class Transformer:
    """Transformer, post-norm encoder (Vaswani et al., 2017), on text, tokens, series or features.

    Of a text each position sees only the past.
    """

    dim: int = option(128, "width of a token", ge=1)
    depth: int = option(2, "number of blocks", ge=1)
    heads: int = option(8, "attention heads", ge=1)
    dim_head: int = option(64, "width of one head", ge=1)
    mlp_dim: int = option(256, "hidden width of the MLP", ge=1)
    dropout: float = option(0.1, "dropout rate in training", ge=0, lt=1)
    pool: Literal["mean", "last"] = option("mean", POOL)
    adapter: Adapter = section(Adapter, "an adapter beside attention")


@dataclasses.dataclass(frozen=True)
class Lstm:
    """Stacked LSTM (Hochreiter & Schmidhuber, 1997) on text, tokens or series, each from zero state."""

    embedding: int = option(8, "width of a character's or token's embedding", ge=1)
    hidden: int = option(256, "width of a layer's state", ge=1)
    layers: int = option(2, "number of layers", ge=1)
    pool: Literal["mean", "last"] = option("last", POOL)


MODELS: dict[str, type] = {
    "vit": Vit,
    "cnn": Cnn,
    "cnn_bn": CnnBn,
    "cnn1d": Cnn1d,
    "mlp": Mlp,
    "transformer": Transformer,
    "lstm": Lstm,
}
