"""Methods whose server generates leaves by a hypernetwork, and its settings."""

import dataclasses
from typing import Literal

from fedtp_jax.config.fields import Optimizer, optimizer, option, section
from fedtp_jax.config.patterns import HEAD, KERNELS, QKV, fixed


@dataclasses.dataclass(frozen=True)
class Hypernetwork:
    """The server's hypernetwork: client embedding -> generated leaves, with its own optimizer."""

    embedding: int = option(128, "size E of a client's embedding", ge=1)
    embedding_update: Literal["auto", "dense", "sparse"] = option(
        "auto",
        "dense: the optimizer steps on all clients' embeddings in every round, as in the authors' code (decay"
        " and momentum move absent ones); sparse: on the cohort's; auto: dense up to 10,000 clients",
    )
    hidden: int = option(150, "width of the trunk", ge=1)
    layers: int = option(3, "hidden layers of the trunk", ge=0)
    base: bool = option(
        False,
        "add what is generated, at first nothing, to leaves that all clients have in common, which the server"
        " averages as it does shared ones",
    )
    rank: int | None = option(
        None, "with base: generate matrices as products of two of this rank; default: whole", ge=1
    )
    spectral_norm: bool = option(
        False, "divide each of its linear layers by the layer's largest singular value (not with base)"
    )
    learning_rate: float | None = option(None, "its learning rate; default: training.learning_rate", gt=0)
    weight_decay: float = option(1e-3, "its L2 decay, added to the gradient", ge=0)
    optimizer: Optimizer = optimizer(
        "sgd", "its optimizer, whose state is kept from round to round", momentum=0.9
    )


@dataclasses.dataclass(frozen=True)
class PFedHN:
    """A hypernetwork generates every client's whole model (Shamsian et al., 2021)."""

    hypernetwork: Hypernetwork = section(Hypernetwork, "the server's hypernetwork")


@dataclasses.dataclass(frozen=True)
class FedTP:
    """A hypernetwork generates every client's query, key and value projections (Li et al., 2023)."""

    generated: tuple[str, ...] = option(QKV, "regular expressions on leaf paths that are generated")
    personal: tuple[str, ...] = option((), "regular expressions on leaf paths that stay with the client")
    fixed: tuple[str, ...] = fixed()
    hypernetwork: Hypernetwork = section(Hypernetwork, "the server's hypernetwork")


@dataclasses.dataclass(frozen=True)
class FedTPPer(FedTP):
    """FedTP and FedPer: generated attention, and the client's own classifier head."""

    personal: tuple[str, ...] = option(HEAD, "regular expressions on leaf paths that stay with the client")


@dataclasses.dataclass(frozen=True)
class FedTPRod(FedTP):
    """FedTP and FedRod: generated attention, and FedRod's two predictors."""


@dataclasses.dataclass(frozen=True)
class BasedHypernetwork(Hypernetwork):
    """One that adds to what all clients have in common."""

    hidden: int = option(64, "width of the trunk", ge=1)
    base: bool = option(
        True,
        "add what is generated, at first nothing, to leaves that all clients have in common, which the server"
        " averages as it does shared ones",
    )
    learning_rate: float | None = option(3e-4, "its learning rate; null: training.learning_rate", gt=0)
    weight_decay: float = option(0.0, "its L2 decay, added to the gradient", ge=0)
    optimizer: Optimizer = optimizer("adam", "its optimizer, whose state is kept from round to round")


@dataclasses.dataclass(frozen=True)
class FedTPPrior(FedTP):
    """FedTP whose clients predict with their own class prior, and with generated differences of all kernels.

    With nothing generated it is FedAvg with a class prior.
    """

    generated: tuple[str, ...] = option(KERNELS, "regular expressions on leaf paths that are generated")
    smoothing: float | None = option(
        0.1,
        "examples of each class that a client is taken to hold beside its own; null: no prior",
        ge=1e-6,
        le=1e6,
    )
    hypernetwork: BasedHypernetwork = section(BasedHypernetwork, "the server's hypernetwork")


@dataclasses.dataclass(frozen=True)
class DescribingHypernetwork(Hypernetwork):
    """PeFLL's, whose embeddings are computed; the network that computes them shares its optimizer."""

    embedding: int = option(32, "size E of a client's embedding (the authors: 1 + N / 4)", ge=2)
    hidden: int = option(100, "width of the trunk", ge=1)
    learning_rate: float | None = option(2e-4, "its learning rate; null: training.learning_rate", gt=0)
    weight_decay: float = option(0.0, "its L2 decay, added to the gradient", ge=0)
    optimizer: Optimizer = optimizer("adam", "its optimizer, whose state is kept from round to round")


@dataclasses.dataclass(frozen=True)
class PeFLL(FedTP):
    """The hypernetwork's embeddings are computed from the clients' data (Scott et al., 2024).

    A client that never trained needs no training: its examples give its embedding.
    """

    generated: tuple[str, ...] = option((".",), "regular expressions on leaf paths that are generated")
    kernels: int = option(16, "of the first convolution of the network that computes embeddings", ge=1)
    batches: int | None = option(
        1, "of a client's batches, from which its embedding is computed in a round; none: all of them", ge=1
    )
    hypernetwork: DescribingHypernetwork = section(DescribingHypernetwork, "the server's hypernetwork")
