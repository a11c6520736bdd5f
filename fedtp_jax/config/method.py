"""Federated methods by name."""

import dataclasses
from typing import Literal

from fedtp_jax.config.fields import option
from fedtp_jax.config.generated import FedTP, FedTPPer, FedTPPrior, FedTPRod, PeFLL, PFedHN
from fedtp_jax.config.patterns import ADAPTER, HEAD, NORMS, QKV, fixed


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
    fixed: tuple[str, ...] = fixed()


@dataclasses.dataclass(frozen=True)
class FedPerfix(FedPer):
    """FedPer whose clients also keep the adapters beside attention, model.adapter's (Sun et al., 2023)."""

    personal: tuple[str, ...] = option(
        (*ADAPTER, *HEAD), "regular expressions on leaf paths that stay with the client"
    )


@dataclasses.dataclass(frozen=True)
class LGFedAvg:
    """Clients keep their own body, the classifier head is averaged (Liang et al., 2020)."""

    shared: tuple[str, ...] = option(HEAD, "regular expressions on leaf paths that are averaged")
    fixed: tuple[str, ...] = fixed()


@dataclasses.dataclass(frozen=True)
class FedRep:
    """Clients train their own head, then the body on it, which is averaged (Collins et al., 2021)."""

    personal: tuple[str, ...] = option(HEAD, "regular expressions on leaf paths that stay with the client")
    fixed: tuple[str, ...] = fixed()
    body_epochs: int = option(
        1, "last passes of training.local_epochs, which train the body; those before train the head", ge=1
    )


@dataclasses.dataclass(frozen=True)
class FedBABU:
    """The head stays as it was initialised, the body is trained and averaged (Oh et al., 2022)."""

    fixed: tuple[str, ...] = fixed(HEAD)


@dataclasses.dataclass(frozen=True)
class FedBN:
    """Clients keep their own normalisation layers, the rest is averaged (Li et al., 2021)."""

    personal: tuple[str, ...] = option(NORMS, "regular expressions on leaf paths that stay with the client")
    statistics: Literal["local", "aggregate"] = option(
        "local",
        "batch norm's running statistics, whatever `personal` and `fixed` are; FedTP's authors average them",
    )
    fixed: tuple[str, ...] = fixed()


@dataclasses.dataclass(frozen=True)
class Vanilla:
    """Clients keep their own query, key and value projections (FedTP's "vanilla personalization")."""

    personal: tuple[str, ...] = option(QKV, "regular expressions on leaf paths that stay with the client")
    fixed: tuple[str, ...] = fixed()


@dataclasses.dataclass(frozen=True)
class FedRod:
    """Two predictors: a shared one, class-balanced, and a personal head beside it (Chen & Chao, 2022).

    The personal head learns by plain SGD at its role's learning rate, whatever training.optimizer is;
    training.clip_norm is that of its own gradient.
    """


@dataclasses.dataclass(frozen=True)
class FedProto:
    """Clients share only the mean features of each class (Tan et al., 2022)."""

    weight: float = option(0.1, "weight lambda of the distance to the prototypes", ge=0)


@dataclasses.dataclass(frozen=True)
class PFedMe:
    """Personal models near the shared one, by Moreau envelopes (Dinh et al., 2020).

    The inner steps are those of training.optimizer; the authors of FedTP take momentum and decay 0.
    """

    inner_steps: int = option(5, "K: steps of the personal model on each batch", ge=1)
    penalty: float = option(15.0, "lambda: how strongly it is held near the shared one", gt=0)
    outer_learning_rate: float | None = option(
        None, "eta: of the shared model; default: training.learning_rate", gt=0
    )


@dataclasses.dataclass(frozen=True)
class Scaffold:
    """FedAvg whose clients' steps are corrected by control variates, option II (Karimireddy et al., 2020).

    Clients step by plain sgd, which `training.optimizer=sgd` is; eta_g is server.learning_rate.
    """


@dataclasses.dataclass(frozen=True)
class APFL:
    """Clients predict with a mixture of the shared model and their own, of logits (Deng et al., 2020)."""

    alpha: float = option(0.5, "share of the client's own model in the mixture", ge=0, le=1)
    adaptive: bool = option(
        False, "whether each client's alpha, which starts from `alpha`, learns by a step in every round"
    )


@dataclasses.dataclass(frozen=True)
class PerFedAvg:
    """A shared model that is good after one step at each client, first order (Fallah et al., 2020).

    The outer step, beta, is that of training.optimizer at training.learning_rate.
    """

    inner_learning_rate: float | None = option(
        None, "alpha: of the inner step, in all rounds; default: training.learning_rate", gt=0
    )


@dataclasses.dataclass(frozen=True)
class Ditto:
    """A personal model held near FedAvg's, both trained on the same batches (Li et al., 2021)."""

    penalty: float = option(1.0, "lambda: how strongly it is held near the shared one as it was sent", ge=0)


@dataclasses.dataclass(frozen=True)
class FedALA:
    """Clients start from their own last head mixed with the shared one, by weights (Zhang et al., 2023).

    They learn the weights first, one for each number that is mixed, in steps before the local ones.
    """

    personal: tuple[str, ...] = option(
        HEAD, "regular expressions on leaf paths of which a client mixes its own and the shared values"
    )
    mixing_learning_rate: float = option(1.0, "eta: of the weights, in all rounds", gt=0)
    share: float = option(0.8, "share of its train examples that a client learns weights on", gt=0, le=1)
    passes: int = option(1, "over them, in every round in which it takes part", ge=1)


@dataclasses.dataclass(frozen=True)
class FedAMP:
    """Every client's model is held near one that the server makes of similar ones (Huang et al., 2021).

    With alpha * (cohort_size - 1) <= sigma that one is a mean, whatever the distances of the models.
    """

    alpha: float = option(1.0, "alpha_k: step of the server's towards the other clients' models", gt=0)
    penalty: float = option(1.0, "lambda: how strongly a client's model is held near the server's", ge=0)
    sigma: float = option(1.0, "of A(x) = 1 - exp(-x / sigma), x the squared distance of two models", gt=0)


@dataclasses.dataclass(frozen=True)
class FedPAC:
    """Heads combined for each client, features held near all clients' class means (Xu et al., 2023).

    The first pass of training.local_epochs trains the head, those after it the body.
    """

    personal: tuple[str, ...] = option(
        HEAD, "regular expressions on leaf paths that each client has combined"
    )
    fixed: tuple[str, ...] = fixed()
    weight: float = option(1.0, "weight lambda of the features' distance to the class means", ge=0)
    head_learning_rate: float = option(0.1, "of the personal leaves", gt=0)


METHODS: dict[str, type] = {
    "fedavg": FedAvg,
    "fedprox": FedProx,
    "local": Local,
    "fedper": FedPer,
    "fedperfix": FedPerfix,
    "lg_fedavg": LGFedAvg,
    "fedrep": FedRep,
    "fedbabu": FedBABU,
    "fedbn": FedBN,
    "vanilla": Vanilla,
    "fedrod": FedRod,
    "fedproto": FedProto,
    "pfedme": PFedMe,
    "scaffold": Scaffold,
    "apfl": APFL,
    "perfedavg": PerFedAvg,
    "ditto": Ditto,
    "fedala": FedALA,
    "fedamp": FedAMP,
    "fedpac": FedPAC,
    "pfedhn": PFedHN,
    "pefll": PeFLL,
    "fedtp": FedTP,
    "fedtp_per": FedTPPer,
    "fedtp_rod": FedTPRod,
    "fedtp_prior": FedTPPrior,
}
