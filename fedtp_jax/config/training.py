"""The clients' and the server's training."""

import dataclasses
from typing import Any, Literal

from fedtp_jax.config.aggregation import AGGREGATIONS, Mean
from fedtp_jax.config.clock import Clock
from fedtp_jax.config.fields import Cohorts, Optimizer, ValidationMetric, optimizer, option, section


@dataclasses.dataclass(frozen=True)
class Constant:
    """The learning rate stays."""


@dataclasses.dataclass(frozen=True)
class Cosine:
    """Half a cosine over the rounds, from the learning rate down to `final` times it after the last."""

    final: float = option(0.0, "factor that would be reached after the last round", ge=0)


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


@dataclasses.dataclass(frozen=True)
class RoleRates:
    """Learning rates of the leaves of one role, where they shall differ from training.learning_rate."""

    shared: float | None = option(None, "of shared leaves; default: training.learning_rate", ge=0)
    personal: float | None = option(None, "of personal leaves; default: training.learning_rate", ge=0)
    generated: float | None = option(
        None, "of generated leaves, at the client; default: training.learning_rate", ge=0
    )


@dataclasses.dataclass(frozen=True)
class Participation:
    """Who is drawn for a round, who of them returns, and how much each does; by default all of it."""

    sampling: Literal["without_replacement", "with_replacement", "by_examples", "poisson"] = option(
        "without_replacement",
        "how clients are drawn; with_replacement: one that is drawn m times trains once and weighs m times; "
        "by_examples: so too, with chances by train examples; poisson: each by itself, with chance K / N",
    )
    cohorts: str | Cohorts | None = option(
        None,
        "who takes part, in place of a draw: a list of clients (numbers or names) for each round, beginning "
        "again after the last; or a CSV file client,first_round,last_round that names all who do",
    )
    dropout: float = option(0.0, "probability that a drawn client does not return", ge=0, lt=1)
    stragglers: float = option(0.0, "probability that a drawn client does only part of its steps", ge=0, le=1)
    straggler_share: float = option(
        0.1,
        "least share of its local steps that a straggler does; uniform from there to 1, rounded up to whole "
        "steps",
        gt=0,
        le=1,
    )
    over_selection: float = option(
        1.0,
        "draw so many times the cohort; the round takes the first cohort_size that return: the less a "
        "straggler does, the later it is, and the others come before it in an order drawn by lot; with a "
        "clock by its time",
        ge=1,
    )
    minimum: int = option(1, "a round to which fewer clients return is void: it changes nothing", ge=1)
    trace: str | None = option(
        None, "CSV file client,first_round,last_round: when each is available; one that it lacks always is"
    )


@dataclasses.dataclass(frozen=True)
class Stop:
    """When a run ends before its last round: when validation shards show no progress any more."""

    metric: ValidationMetric = option("val_accuracy", "what must get better")
    patience: int | None = option(
        None, "evaluations without a better one that end the run; default: none do", ge=1
    )


@dataclasses.dataclass(frozen=True)
class Training:
    """Rounds, cohort and the clients' optimizer."""

    rounds: int = option(100, "communication rounds", ge=1)
    cohort_size: int = option(5, "clients K that train in a round; with poisson sampling in the mean", ge=1)
    participation: Participation = section(Participation, "who is drawn, and who returns")
    clock: Clock = section(Clock, "time that devices would take")
    on_nonfinite: Literal["exclude", "stop"] = option(
        "exclude",
        "a client that returns numbers that are not finite is left out of the round, or ends the run",
    )
    held_out: int = option(0, "clients, drawn at random, that never train: for `fedtp novel`", ge=0)
    local_epochs: int = option(1, "passes of a client over its train shard in a round", ge=1)
    local_steps: int | None = option(
        None, "local steps of every client in a round, in place of local_epochs", ge=1
    )
    batch_size: int = option(32, "examples in a local step; the last batch of an epoch may be smaller", ge=1)
    learning_rate: float = option(0.01, "the clients' learning rate", gt=0)
    role_learning_rates: RoleRates = section(RoleRates, "learning rates of single roles")
    schedule: Any = section(Constant, "the clients' learning rate over the rounds", SCHEDULES)
    warmup_rounds: int = option(
        0, "w rounds before the schedule begins, with 1/w, 2/w, ..., w/w of the learning rate", ge=0
    )
    weight_decay: float = option(1e-5, "L2 decay, added to the gradient of every parameter", ge=0)
    augment: tuple[Literal["flip", "crop"], ...] = option(
        (),
        "what alters images anew in every local step: flip exchanges left and right of every second one, "
        "crop shifts by up to an eighth of the side",
    )
    clip_norm: float | None = option(
        None, "largest norm of a client's gradient over all parameters; longer ones are scaled down", gt=0
    )
    optimizer: Optimizer = optimizer(
        "sgd", "the clients' optimizer, starting anew in every round", momentum=0.9
    )
    stop: Stop = section(Stop, "an end before the last round")


@dataclasses.dataclass(frozen=True)
class Server:
    """What the server takes for the cohort's mean, and what it does with that of the shared leaves.

    The round's change (old - mean) is the gradient of an optimizer: sgd with learning rate 1 takes the mean
    (FedAvg), sgd with momentum is FedAvgM, adam and yogi are FedAdam and FedYogi (Reddi et al., 2021).
    """

    learning_rate: float = option(1.0, "the server's learning rate", gt=0)
    optimizer: Optimizer = optimizer("sgd", "the server's optimizer, whose state is kept from round to round")
    weighting: Literal["examples", "uniform"] = option(
        "examples",
        "what a client counts for in the cohort's mean: its train examples, or as much as any other",
    )
    aggregation: Any = section(
        Mean, "what the server takes of the cohort's changes; of all but the mean it needs each", AGGREGATIONS
    )
