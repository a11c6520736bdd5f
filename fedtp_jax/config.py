"""Every setting of a simulation: its default, its bounds and its one line of help live here and nowhere else.

A configuration is a tree of frozen dataclasses. `data`, `partition`, `model` and `method` are chosen by name,
and each name has its own fields. Python builds the tree directly, YAML files and the command line's
`section.field=value` go through `settings.py`, which checks every value against the declarations here.
"""

import dataclasses
from typing import Any, Literal, TypeVar

T = TypeVar("T")

# Self-attention's projections to queries, keys and values, and the classifier, by this package's leaf names.
QKV = (r"(^|/)(query|key|value)/kernel$",)
HEAD = (r"(^|/)head/",)


def option(default: T, help: str, **bounds: Any) -> T:
    """A field with a default, one line of help, and bounds among gt, ge, lt, le (numbers)."""
    return dataclasses.field(default=default, metadata={"help": help, **bounds})


def section(kind: Any, help: str, kinds: dict[str, type] | None = None) -> Any:
    """A field that is itself a dataclass; `kinds` maps the names it may be chosen by to dataclasses."""
    return dataclasses.field(default_factory=kind, metadata={"help": help, "kinds": kinds})


# ---------------------------------------------------------------------------------------------- data


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
class Npz:
    """Your own arrays in an .npz file: x, y (and x_test, y_test, clients, clients_test)."""

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
    "npz": Npz,
    "arrays": Arrays,
}

# ----------------------------------------------------------------------------------------- partition


@dataclasses.dataclass(frozen=True)
class Iid:
    """Every client gets an equal random share of the train and of the test examples."""

    clients: int = option(20, "number of clients N", ge=1)
    seed: int | None = option(None, "seed of the partition alone; default: the simulation's seed", ge=0)


@dataclasses.dataclass(frozen=True)
class Dirichlet:
    """Each class is split among the clients in proportions drawn from Dirichlet(alpha), test like train."""

    clients: int = option(20, "number of clients N", ge=1)
    alpha: float = option(0.3, "concentration; small = clients differ much", gt=0)
    min_size: int = option(
        10, "smallest allowed train shard; redrawn until met, or an error says why not", ge=0
    )
    seed: int | None = option(None, "seed of the partition alone; default: the simulation's seed", ge=0)


@dataclasses.dataclass(frozen=True)
class Pathological:
    """Every client holds the same small number of classes; a class is shared evenly by its holders."""

    clients: int = option(20, "number of clients N", ge=1)
    classes_per_client: int = option(2, "classes that each client holds", ge=1)
    seed: int | None = option(None, "seed of the partition alone; default: the simulation's seed", ge=0)


@dataclasses.dataclass(frozen=True)
class Natural:
    """Clients as the data names them: from_arrays(..., clients=...) or the clients column of an .npz file."""


@dataclasses.dataclass(frozen=True)
class PartitionFile:
    """Explicit index lists: a saved partition.npz, or JSON {train: {client: [..]}, test: {..}}."""

    file: str | None = option(None, "path of the .npz or .json file")


@dataclasses.dataclass(frozen=True)
class ReferencePartition:
    """A recipe of the authors' code, the same examples for the same seed."""

    clients: int = option(20, "number of clients N", ge=1)
    seed: int | None = option(0, "the authors' init_seed", ge=0)


@dataclasses.dataclass(frozen=True)
class Homo(ReferencePartition):
    """Authors' code, homo: a random equal split."""


@dataclasses.dataclass(frozen=True)
class NoniidLabeldir(ReferencePartition):
    """Authors' code, noniid-labeldir: Dirichlet with their balance trick, test mirrors train."""

    beta: float = option(0.3, "Dirichlet concentration", gt=0)


@dataclasses.dataclass(frozen=True)
class NoniidLabeldir100(ReferencePartition):
    """Authors' code, noniid-labeldir100 (CIFAR-100): hierarchical Dirichlet over super- and subclasses."""

    beta: float = option(0.3, "Dirichlet concentration over superclasses", gt=0)


@dataclasses.dataclass(frozen=True)
class NoniidLabeluni(ReferencePartition):
    """Authors' code, noniid-labeluni: 2 classes a client (10 where there are 100 classes), uneven shares."""


@dataclasses.dataclass(frozen=True)
class IidLabel100(ReferencePartition):
    """Authors' code, iid-label100 (CIFAR-100): client i holds superclass i // 5; needs 100 clients."""

    clients: int = option(100, "number of clients N; the recipe needs 100", ge=1)


PARTITIONS: dict[str, type] = {
    "iid": Iid,
    "dirichlet": Dirichlet,
    "pathological": Pathological,
    "natural": Natural,
    "file": PartitionFile,
    "homo": Homo,
    "noniid-labeldir": NoniidLabeldir,
    "noniid-labeldir100": NoniidLabeldir100,
    "noniid-labeluni": NoniidLabeluni,
    "iid-label100": IidLabel100,
}

# --------------------------------------------------------------------------------------------- model


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


@dataclasses.dataclass(frozen=True)
class Cnn:
    """LeNet-style: two 5x5 convolutions with pooling, two hidden layers; images of at least 16x16 pixels."""

    kernels: int = option(16, "channels of the first convolution; the second has twice as many", ge=1)


@dataclasses.dataclass(frozen=True)
class CnnBn(Cnn):
    """cnn with batch normalisation before every activation (Ioffe & Szegedy, 2015)."""


@dataclasses.dataclass(frozen=True)
class Transformer:
    """Character Transformer, post-norm encoder (Vaswani et al., 2017); each position sees only the past."""

    dim: int = option(128, "width of a token", ge=1)
    depth: int = option(2, "number of blocks", ge=1)
    heads: int = option(8, "attention heads", ge=1)
    dim_head: int = option(64, "width of one head", ge=1)
    mlp_dim: int = option(256, "hidden width of the MLP", ge=1)
    dropout: float = option(0.1, "dropout rate in training", ge=0, lt=1)


@dataclasses.dataclass(frozen=True)
class Lstm:
    """Stacked character LSTM (Hochreiter & Schmidhuber, 1997), from zero state in every text window."""

    embedding: int = option(8, "width of a character's embedding", ge=1)
    hidden: int = option(256, "width of a layer's state", ge=1)
    layers: int = option(2, "number of layers", ge=1)


MODELS: dict[str, type] = {
    "vit": Vit,
    "cnn": Cnn,
    "cnn_bn": CnnBn,
    "transformer": Transformer,
    "lstm": Lstm,
}

# -------------------------------------------------------------------------------------------- method


@dataclasses.dataclass(frozen=True)
class Hypernetwork:
    """The server's hypernetwork: client embedding -> generated leaves, with its own SGD."""

    embedding: int = option(128, "size E of a client's embedding", ge=1)
    hidden: int = option(150, "width of the trunk", ge=1)
    layers: int = option(3, "hidden layers of the trunk", ge=0)
    learning_rate: float | None = option(None, "its learning rate; default: training.learning_rate", gt=0)
    momentum: float = option(0.9, "its momentum, kept from round to round", ge=0, lt=1)
    weight_decay: float = option(1e-3, "its L2 decay, added to the gradient", ge=0)


@dataclasses.dataclass(frozen=True)
class FedAvg:
    """Every leaf is shared and averaged by examples (McMahan et al., 2017)."""


@dataclasses.dataclass(frozen=True)
class FedProx:
    """FedAvg with mu/2 * |w - w_round|^2 in the local loss (Li et al., 2020)."""

    mu: float = option(1.0, "weight of the proximal term", ge=0)


@dataclasses.dataclass(frozen=True)
class Local:
    """Every client trains alone; nothing is shared."""


@dataclasses.dataclass(frozen=True)
class FedPer:
    """Clients keep their own classifier head, the rest is averaged (Arivazhagan et al., 2019)."""

    personal: tuple[str, ...] = option(HEAD, "regular expressions on leaf paths that stay with the client")


@dataclasses.dataclass(frozen=True)
class Vanilla:
    """Clients keep their own query, key and value projections (FedTP's "vanilla personalization")."""

    personal: tuple[str, ...] = option(QKV, "regular expressions on leaf paths that stay with the client")


@dataclasses.dataclass(frozen=True)
class FedTP:
    """A hypernetwork generates every client's query, key and value projections (Li et al., 2023)."""

    generated: tuple[str, ...] = option(QKV, "regular expressions on leaf paths that are generated")
    personal: tuple[str, ...] = option((), "regular expressions on leaf paths that stay with the client")
    hypernetwork: Hypernetwork = section(Hypernetwork, "the server's hypernetwork")


METHODS: dict[str, type] = {
    "fedavg": FedAvg,
    "fedprox": FedProx,
    "local": Local,
    "fedper": FedPer,
    "vanilla": Vanilla,
    "fedtp": FedTP,
}

# ------------------------------------------------------------------------------------------ the rest


@dataclasses.dataclass(frozen=True)
class Training:
    """Rounds, cohort and the clients' SGD."""

    rounds: int = option(100, "communication rounds", ge=1)
    cohort_size: int = option(5, "clients K that train in a round, drawn without replacement", ge=1)
    local_epochs: int = option(1, "passes of a client over its train shard in a round", ge=1)
    batch_size: int = option(32, "examples in a local step; the last batch of an epoch may be smaller", ge=1)
    learning_rate: float = option(0.01, "the clients' learning rate", gt=0)
    momentum: float = option(0.9, "the clients' momentum, from zero in every round", ge=0, lt=1)
    weight_decay: float = option(1e-5, "L2 decay, added to the gradient of every leaf", ge=0)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Every client is evaluated on its own whole test shard with the variables it would run."""

    every: int = option(10, "rounds between evaluations; the last round is always evaluated", ge=1)
    last: int = option(5, "the headline is mean +- std over this many last evaluations", ge=1)
    batch_size: int = option(256, "examples in an evaluation step", ge=1)


@dataclasses.dataclass(frozen=True)
class Engine:
    """How the work is laid onto devices; no field changes results beyond float32 summation order."""

    devices: int | Literal["auto"] = option("auto", "devices to use; auto: all (on CPU one per core)", ge=1)
    lanes: int | Literal["auto"] = option(
        "auto",
        "clients that train side by side on a device; auto: 1 on CPU, else total / longest client",
        ge=1,
    )
    wave_size: int | Literal["auto"] = option(
        "auto", "clients on the devices at once; auto: what keeps their rows under 1 GiB", ge=1
    )


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Saved in the run's folder; a killed run resumes from the newest."""

    every: int = option(10, "rounds between checkpoints; the last round is always saved", ge=1)
    keep: int = option(2, "how many of the newest to keep", ge=1)


@dataclasses.dataclass(frozen=True)
class SimulationConfig:
    """One simulation: data, who holds it, the model, the method, and how long."""

    seed: int = option(0, "seeds everything: initial values, cohorts, batch order, dropout", ge=0, lt=2**31)
    data: Any = section(Digits, "the data set", DATASETS)
    partition: Any = section(Dirichlet, "who holds which examples", PARTITIONS)
    model: Any = section(Vit, "the network", MODELS)
    method: Any = section(FedTP, "the federated method", METHODS)
    training: Training = section(Training, "the rounds")
    evaluation: Evaluation = section(Evaluation, "the evaluations")
    engine: Engine = section(Engine, "the machine")
    checkpoint: Checkpoint = section(Checkpoint, "checkpoints")


def default_of(field: "dataclasses.Field[Any]") -> Any:
    """A field's default, made anew if it is a section."""
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def name_of(part: object) -> str:
    """The name by which `part` (of data, partition, model or method) is chosen, such as 'dirichlet'."""
    for kinds in (DATASETS, PARTITIONS, MODELS, METHODS):
        for name, kind in kinds.items():
            if type(part) is kind:
                return name
    raise TypeError(f"{type(part).__name__} is not a named part of a configuration")
