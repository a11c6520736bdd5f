"""Partitions by name: who holds which examples."""

import dataclasses

from fedtp_jax.config.fields import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class EveryPartition:
    """What every partition has."""

    validation: float = option(
        0.0,
        "share of every client's train shard that it is validated on in place of training on it: alike in "
        "every class, one example at least of two; of a text its end",
        ge=0,
        lt=1,
    )


@dataclasses.dataclass(frozen=True)
class Iid(EveryPartition):
    """Every client gets an equal random share of the train and of the test examples."""

    clients: int = option(20, "number of clients N", ge=1)
    seed: int | None = option(None, "seed of the partition alone; default: the simulation's seed", ge=0)


@dataclasses.dataclass(frozen=True)
class Dirichlet(EveryPartition):
    """Each class is split among the clients in proportions drawn from Dirichlet(alpha), test like train."""

    clients: int = option(20, "number of clients N", ge=1)
    alpha: float = option(0.3, "concentration; small = clients differ much", gt=0)
    min_size: int = option(
        10, "smallest allowed train shard; redrawn until met, or an error says why not", ge=0
    )
    seed: int | None = option(None, "seed of the partition alone; default: the simulation's seed", ge=0)


@dataclasses.dataclass(frozen=True)
class BalancedDirichlet(EveryPartition):
    """Equal shards, each drawn by class proportions of its client's own Dirichlet(alpha)."""

    clients: int = option(20, "number of clients N", ge=1)
    alpha: float = option(0.3, "concentration; small = clients differ much", gt=0)
    seed: int | None = option(None, "seed of the partition alone; default: the simulation's seed", ge=0)


@dataclasses.dataclass(frozen=True)
class ExtendedDirichlet(EveryPartition):
    """Every client holds the same small number of classes, each cut by Dirichlet(alpha) for its holders."""

    clients: int = option(20, "number of clients N", ge=1)
    classes_per_client: int = option(2, "classes that each client holds", ge=1)
    alpha: float = option(1.0, "concentration; small = holders of a class differ much", gt=0)
    min_size: int = option(
        10, "smallest allowed train shard; redrawn until met, or an error says why not", ge=0
    )
    seed: int | None = option(None, "seed of the partition alone; default: the simulation's seed", ge=0)


@dataclasses.dataclass(frozen=True)
class Pathological(EveryPartition):
    """Every client holds the same small number of classes; a class is shared evenly by its holders."""

    clients: int = option(20, "number of clients N", ge=1)
    classes_per_client: int = option(2, "classes that each client holds", ge=1)
    seed: int | None = option(None, "seed of the partition alone; default: the simulation's seed", ge=0)


@dataclasses.dataclass(frozen=True)
class Superclass(EveryPartition):
    """CIFAR-100: every client holds the five classes of one superclass, each shared evenly by its holders."""

    clients: int = option(20, "number of clients N; 20 or more", ge=1)
    seed: int | None = option(None, "seed of the partition alone; default: the simulation's seed", ge=0)


@dataclasses.dataclass(frozen=True)
class Pachinko(EveryPartition):
    """CIFAR-100: equal shards, each drawn from the client's own tree of superclasses and classes."""

    clients: int = option(20, "number of clients N", ge=1)
    alpha: float = option(0.3, "Dirichlet concentration over the superclasses", gt=0)
    beta: float = option(10.0, "Dirichlet concentration over the classes of a superclass", gt=0)
    seed: int | None = option(None, "seed of the partition alone; default: the simulation's seed", ge=0)


@dataclasses.dataclass(frozen=True)
class Quantity(EveryPartition):
    """Labels alike, sizes different: shares of the examples drawn from Dirichlet(alpha), test like train."""

    clients: int = option(20, "number of clients N", ge=1)
    alpha: float = option(1.0, "concentration; small = sizes differ much", gt=0)
    min_size: int = option(10, "train examples that every client gets; the rest is shared by draw", ge=0)
    seed: int | None = option(None, "seed of the partition alone; default: the simulation's seed", ge=0)


@dataclasses.dataclass(frozen=True)
class Sampled(EveryPartition):
    """Every client draws its own examples from all: clients overlap, and may be more than the examples."""

    clients: int = option(20, "number of clients N; may exceed the number of examples", ge=1)
    train_examples: int = option(20, "train examples that each client holds", ge=1)
    test_examples: int = option(10, "test examples that each client holds, of the same classes", ge=1)
    alpha: float = option(0.3, "Dirichlet concentration over the classes; small = clients differ much", gt=0)
    seed: int | None = option(None, "seed of the partition alone; default: the simulation's seed", ge=0)


@dataclasses.dataclass(frozen=True)
class FeatureNoise(EveryPartition):
    """Equal random shares, and Gaussian noise of std noise * k / (N - 1) on client k's normalised inputs."""

    clients: int = option(20, "number of clients N", ge=1)
    noise: float = option(1.0, "std of the last client's noise; the first client has none", ge=0)
    seed: int | None = option(None, "seed of the partition alone; default: the simulation's seed", ge=0)


@dataclasses.dataclass(frozen=True)
class Natural(EveryPartition):
    """Every group that the data names is a client: from_arrays(..., groups=...) or groups in an .npz file."""


@dataclasses.dataclass(frozen=True)
class PartitionFile(EveryPartition):
    """Explicit index lists: a saved partition.npz, or JSON {train: {client: [..]}, test: {..}}.

    A file may list the validation examples too, in place of `validation`.
    """

    file: str | None = option(None, "path of the .npz or .json file")


@dataclasses.dataclass(frozen=True)
class ReferencePartition(EveryPartition):
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
    "balanced_dirichlet": BalancedDirichlet,
    "extended_dirichlet": ExtendedDirichlet,
    "pathological": Pathological,
    "superclass": Superclass,
    "pachinko": Pachinko,
    "quantity": Quantity,
    "sampled": Sampled,
    "feature_noise": FeatureNoise,
    "natural": Natural,
    "file": PartitionFile,
    "homo": Homo,
    "noniid-labeldir": NoniidLabeldir,
    "noniid-labeldir100": NoniidLabeldir100,
    "noniid-labeluni": NoniidLabeluni,
    "iid-label100": IidLabel100,
}
