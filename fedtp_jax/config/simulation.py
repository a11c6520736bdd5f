"""One simulation: all sections together."""

import dataclasses
from typing import Any, Literal

from fedtp_jax.config.adversaries import Adversaries
from fedtp_jax.config.aggregation import AGGREGATIONS
from fedtp_jax.config.data import DATASETS, Digits
from fedtp_jax.config.fields import Clients, Metrics, Own, ValidationMetric, option, section
from fedtp_jax.config.generated import FedTP
from fedtp_jax.config.method import METHODS
from fedtp_jax.config.model import MODELS, Vit
from fedtp_jax.config.partition import PARTITIONS, Dirichlet
from fedtp_jax.config.privacy import Privacy
from fedtp_jax.config.task import Task
from fedtp_jax.config.training import SCHEDULES, Server, Training
from fedtp_jax.config.upload import UPLOADS, Uploads


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
class Adapt:
    """A second test of every evaluated client, with a copy of its variables that it trains first and forgets.

    It trains on its own train shard, by training.optimizer on the cross-entropy of its own predictions.
    FedAvg with it is the baseline that is known as FedAvg-FT.
    """

    epochs: int | None = option(
        None, "passes over its train shard; without epochs or steps none adapts", ge=1
    )
    steps: int | None = option(None, "local steps, in place of epochs", ge=1)
    learning_rate: float | None = option(
        None, "of all leaves that train; default: training.learning_rate", gt=0
    )
    leaves: tuple[str, ...] = option((".",), "regular expressions on paths of the leaves that train")

    @property
    def asked_for(self) -> bool:
        """Whether clients adapt at all."""
        return self.epochs is not None or self.steps is not None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Every client, or a sample, is evaluated on its own whole test shard with the variables it would run."""

    every: int = option(10, "rounds between evaluations; the last round is always evaluated", ge=1)
    last: int = option(5, "the headline is mean +- std over this many last evaluations", ge=1)
    batch_size: int = option(256, "examples in an evaluation step", ge=1)
    clients: int | Clients | None = option(
        None,
        "evaluate so many clients, drawn once among those with test examples, or these (numbers or names); "
        "default: all",
        ge=1,
    )
    metrics: Metrics = dataclasses.field(
        default=(),
        metadata={
            "help": "what is measured beside accuracy (in regression mae), pooled and by client: "
            "balanced_accuracy, f1_macro, auroc, top5, ece; of several labels f1_macro, auroc, exact_match; "
            "in regression rmse, r2; in Python also functions of (labels, scores)",
            "metrics": True,
        },
    )
    clients_history: bool = option(False, "keep every evaluation's per-client values: clients_history.csv")
    fit: bool = option(
        False, "test every client on its own train shard too: fit_accuracy and so on, beside test_accuracy"
    )
    knn: Knn = section(Knn, "nearest neighbours at prediction time")
    adapt: Adapt = section(Adapt, "a second test, after training on the own shard")


@dataclasses.dataclass(frozen=True)
class Engine:
    """How the work is laid onto devices; the last two change more than summation order."""

    devices: int | Literal["auto"] = option("auto", "devices to use; auto: all (on CPU one per core)", ge=1)
    lanes: int | Literal["auto"] = option(
        "auto",
        "clients that train side by side on a device; auto: 1 on CPU, else total / longest client, as far as "
        "more fill it",
        ge=1,
    )
    simulations: int | Literal["auto"] = option(
        "auto",
        "simulations (seeds, a sweep's entries) that train side by side as one program; auto: 1 on CPU, else "
        "as many as fit",
        ge=1,
    )
    wave_size: int | Literal["auto"] = option(
        "auto",
        "clients on the devices at once; auto: up to 1,024 a device, and 64 MiB of rows (accelerators 1 GiB)",
        ge=1,
    )
    rows: Literal["memory", "disk"] = option(
        "memory", "where clients' rows (personal leaves, embeddings) are kept between rounds"
    )
    precision: Literal["float32", "bfloat16"] = option(
        "float32",
        "of the model's matrix products and activations; parameters, optimizers, means, softmax and loss are "
        "float32 always",
    )
    attention: Literal["auto", "xla", "fused"] = option(
        "auto",
        "of vit and transformer; fused: one kernel of cuDNN, on NVIDIA GPUs in bfloat16; auto: fused if it "
        "can be, else xla",
    )


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Saved in the run's folder; a killed run resumes from the newest."""

    every: int = option(10, "rounds between checkpoints; the last round is always saved", ge=1)
    keep: int = option(2, "how many of the newest to keep", ge=1)
    best: ValidationMetric | None = option(
        None, "keep the state of the evaluated round that is best by this too: Result.best; default: none"
    )


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
    task: Task = section(Task, "what is learnt")
    training: Training = section(Training, "the rounds")
    server: Server = section(Server, "the server")
    upload: Uploads = dataclasses.field(
        default=(),
        metadata={
            "help": "steps that each client's change takes on its way to the server, in this order: clip, "
            "noise, top_k or random_k, quantize or sign",
            "chain": UPLOADS,
        },
    )
    privacy: Privacy = section(Privacy, "differential privacy")
    adversaries: Adversaries = section(Adversaries, "clients that work against the others")
    evaluation: Evaluation = section(Evaluation, "the evaluations")
    engine: Engine = section(Engine, "the machine")
    checkpoint: Checkpoint = section(Checkpoint, "checkpoints")


def default_of(field: "dataclasses.Field[Any]") -> Any:
    """A field's default, made anew if it is a section."""
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def name_of(part: object) -> str:
    """The name by which `part` (data, partition, model, method, schedule) is chosen, such as 'dirichlet'."""
    if isinstance(part, Own):
        return part.name
    for kinds in (DATASETS, PARTITIONS, MODELS, METHODS, SCHEDULES, UPLOADS, AGGREGATIONS):
        for name, kind in kinds.items():
            if type(part) is kind:
                return name
    raise TypeError(f"{type(part).__name__} is not a named part of a configuration")
