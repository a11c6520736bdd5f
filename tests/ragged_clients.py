"""Ragged clients, and simulators of every method on them."""

import dataclasses
import functools
import itertools

import numpy as np

from fedtp_jax import config
from fedtp_jax.data.dataset import Dataset, Examples, Windows
from fedtp_jax.engine.mesh import make_mesh
from fedtp_jax.partitions.partition import Partition, Shards
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.simulation.rounds import Simulator

SIZES = (1, 9, 16, 3, 24, 7, 12)  # with batches of 4: single examples, full and ragged last batches
CLIENTS, CLASSES, ROUNDS, SEED = len(SIZES), 4, 2, 5
TRAINING = config.Training(
    rounds=ROUNDS,
    cohort_size=5,
    local_epochs=2,
    batch_size=4,
    learning_rate=0.05,
    weight_decay=1e-3,
)
VIT = config.Vit(patch_size=2, dim=8, depth=1, heads=2, dim_head=4, mlp_dim=12, dropout=0.2)
TRANSFORMER = config.Transformer(dim=8, depth=1, heads=2, dim_head=4, mlp_dim=12, dropout=0.2)
WITH_ADAPTER = dataclasses.replace(VIT, adapter=config.Adapter(size=5))
CNN_BN = config.CnnBn(kernels=1)
LSTM = config.Lstm(embedding=3, hidden=4, layers=1)
HYPER = config.Hypernetwork(embedding=6, hidden=10, layers=2)
BASED = config.BasedHypernetwork(
    embedding=6, hidden=10, layers=2, learning_rate=0.3, optimizer=config.Optimizer("sgd", {"momentum": 0.7})
)
DESCRIBING = config.DescribingHypernetwork(
    embedding=6, hidden=10, layers=2, learning_rate=0.3, optimizer=config.Optimizer("sgd", {"momentum": 0.7})
)
ADAM, MOMENTUM = config.Optimizer("adam", {"eps": 1e-3}), config.Optimizer("sgd", {"momentum": 0.7})
PLAIN = config.Evaluation()
KNN = config.Evaluation(batch_size=24, knn=config.Knn(weight=0.6, neighbors=3, capacity=0.7))


def case(method, model=VIT, server=config.Server(), evaluation=PLAIN, **training):
    training = dataclasses.replace(TRAINING, **training)
    return config.SimulationConfig(
        seed=SEED, model=model, method=method, training=training, server=server, evaluation=evaluation
    )


CASES = {
    "fedavg": case(config.FedAvg()),
    "fedprox": case(config.FedProx(mu=0.5)),
    "local": case(config.Local()),
    # several batches of a client: its examples keep their noise wherever they are
    "fedper, noise": case(config.FedPer(), evaluation=dataclasses.replace(KNN, batch_size=2)),
    "fedperfix": case(config.FedPerfix(), WITH_ADAPTER, role_learning_rates=config.RoleRates(personal=0.02)),
    "fedperfix on text": case(
        config.FedPerfix(), dataclasses.replace(TRANSFORMER, adapter=config.Adapter(5, scale=0.5))
    ),
    "lg_fedavg": case(config.LGFedAvg()),
    # three passes: the optimizer that rests while the other one works has a state
    "fedrep": case(config.FedRep(body_epochs=2), local_epochs=3, clip_norm=0.5, optimizer=MOMENTUM),
    "fedrep, adam": case(config.FedRep(), local_epochs=3, learning_rate=0.01, optimizer=ADAM),
    "fedbabu": case(
        config.FedBABU(),
        server=config.Server(0.5, MOMENTUM),
        clip_norm=0.5,
        weight_decay=0.05,
        optimizer=MOMENTUM,
    ),
    "vanilla": case(config.Vanilla(), evaluation=KNN),
    "fedrod": case(
        config.FedRod(),
        role_learning_rates=config.RoleRates(personal=0.2),
        schedule=config.Step(every=1),
        clip_norm=0.3,
        weight_decay=0.05,
    ),
    "fedproto": case(config.FedProto(weight=0.7), local_steps=5),
    "pfedme": case(
        config.PFedMe(inner_steps=3, penalty=4.0, outer_learning_rate=0.1), schedule=config.Exponential(0.5)
    ),
    "scaffold": case(
        config.Scaffold(),
        server=config.Server(0.5),
        optimizer=config.Optimizer("sgd"),
        schedule=config.Exponential(0.5),
        clip_norm=0.5,
        learning_rate=0.2,  # by which what is told of gradients is divided, rounding included
    ),
    "apfl": case(
        config.APFL(alpha=0.3),
        CNN_BN,
        role_learning_rates=config.RoleRates(personal=0.002),
        local_epochs=1,
        learning_rate=0.005,
    ),
    "apfl, adaptive": case(config.APFL(adaptive=True), evaluation=KNN, schedule=config.Step(every=1)),
    "perfedavg": case(
        config.PerFedAvg(inner_learning_rate=0.1), server=config.Server(0.5), schedule=config.Step(every=1)
    ),
    "ditto": case(config.Ditto(penalty=2.0), schedule=config.Exponential(0.5), optimizer=MOMENTUM),
    "pefll": case(config.PeFLL(hypernetwork=DESCRIBING, kernels=2)),
    "pefll on text": case(config.PeFLL(hypernetwork=DESCRIBING, batches=None), LSTM),
    "fedala": case(config.FedALA(), evaluation=KNN, schedule=config.Exponential(0.5), optimizer=MOMENTUM),
    "fedala, noise": case(
        config.FedALA(("attention/", "head/"), mixing_learning_rate=5.0, share=0.4, passes=2),
        server=config.Server(0.5),
        clip_norm=0.5,
        local_steps=3,
    ),
    "fedamp": case(config.FedAMP(alpha=0.3, penalty=0.5, sigma=0.2), schedule=config.Exponential(0.5)),
    "fedamp, batch norm": case(config.FedAMP(alpha=0.2), CNN_BN, local_epochs=1, learning_rate=0.005),
    "fedpac": case(
        config.FedPAC(weight=0.7),
        server=config.Server(0.5, MOMENTUM),
        local_epochs=3,
        clip_norm=0.5,
        optimizer=config.Optimizer("sgd", {"momentum": 0.5}),
        schedule=config.Step(every=1),
    ),
    "fedtp": case(config.FedTP(hypernetwork=HYPER)),
    "fedtp on adapters": case(
        config.FedTP(generated=config.ADAPTER, hypernetwork=HYPER), WITH_ADAPTER, local_epochs=1
    ),
    "fedtp, sparse": case(
        config.FedTP(hypernetwork=dataclasses.replace(HYPER, embedding_update="sparse", weight_decay=0.1))
    ),
    "fedtp, base": case(
        config.FedTP(hypernetwork=dataclasses.replace(HYPER, base=True)), server=config.Server(0.5, MOMENTUM)
    ),
    "fedtp, base and rank": case(
        config.FedTP(hypernetwork=dataclasses.replace(HYPER, base=True, rank=2, learning_rate=0.5)),
        clip_norm=0.5,
    ),
    "fedtp, spectral norm": case(config.FedTP(hypernetwork=dataclasses.replace(HYPER, spectral_norm=True))),
    "fedtp_per": case(
        config.FedTPPer(hypernetwork=dataclasses.replace(HYPER, learning_rate=0.3)),
        role_learning_rates=config.RoleRates(shared=0.02, personal=0.1, generated=0.2),
        schedule=config.Exponential(0.5),
        local_steps=3,
    ),
    "fedtp_rod": case(config.FedTPRod(hypernetwork=HYPER)),
    "fedtp_prior": case(
        config.FedTPPrior(smoothing=0.5, hypernetwork=BASED), weight_decay=0.1, schedule=config.Step(every=1)
    ),
    "fedtp_prior, adam": case(
        config.FedTPPrior(
            generated=config.QKV,
            hypernetwork=dataclasses.replace(BASED, learning_rate=0.01, optimizer=ADAM, rank=2),
        )
    ),
    "fedtp_prior on text": case(config.FedTPPrior(hypernetwork=BASED), TRANSFORMER, clip_norm=0.5),
    # Few small steps: batch norm over four examples multiplies rounding errors, and one that takes a ReLU's
    # input across 0 makes another gradient. With these settings no input comes nearer to 0 than 4e-5.
    "fedbn": case(config.FedBN(), CNN_BN, local_epochs=1, learning_rate=0.005),
    "fedbn, shared statistics": case(
        config.FedBN(statistics="aggregate"),
        CNN_BN,
        config.Server(0.5, MOMENTUM),
        local_epochs=1,
        learning_rate=0.005,
    ),
    "fedavg, adam": case(
        config.FedAvg(),
        server=config.Server(0.01, ADAM),
        optimizer=ADAM,
        clip_norm=0.5,
        schedule=config.Cosine(0.1),
        learning_rate=0.01,
    ),
    "fedtp, uniform, with replacement": case(
        config.FedTP(hypernetwork=HYPER),
        server=config.Server(weighting="uniform"),
        participation=config.Participation(sampling="with_replacement"),
        warmup_rounds=3,
    ),
    "fedper, by examples": case(
        config.FedPer(), participation=config.Participation(sampling="by_examples"), warmup_rounds=1
    ),
    "ditto, poisson": case(config.Ditto(), participation=config.Participation(sampling="poisson")),
    "scaffold, named cohorts": case(
        config.Scaffold(),
        server=config.Server(weighting="uniform"),
        optimizer=config.Optimizer("sgd"),
        participation=config.Participation(cohorts=((4, 1, 2, 3, 5, 6), (0, 6))),
    ),
    "fedtp on text": case(config.FedTP(hypernetwork=HYPER), TRANSFORMER),
    "fedper on text": case(config.FedPer(), LSTM),
    "pfedhn on text": case(config.PFedHN(hypernetwork=HYPER), LSTM),
}


@functools.cache
def federation(side=None):
    """Random images [M, side, side, 1] uint8, or a text, of which client k trains on SIZES[k] and tests k.

    The last class of the images is client 2's alone, which is in round 0's cohort and not in round 1's.
    """
    random = np.random.default_rng(0)

    def split(sizes):
        count = sum(sizes)
        if side is None:
            text = random.integers(0, CLASSES, count + 5).astype(np.uint8)
            examples = Windows(text, np.arange(count, dtype=np.int32), length=5)
        else:
            x = random.integers(0, 256, (count, side, side, 1)).astype(np.uint8)
            examples = Examples(x, random.integers(0, CLASSES - 1, count).astype(np.int32))
        order, ends = random.permutation(count), np.cumsum([0, *sizes])
        return examples, Shards.from_lists([order[a:b] for a, b in itertools.pairwise(ends)])

    train, train_shards = split(SIZES)
    test, test_shards = split(range(CLIENTS))  # client 0 has no test examples
    if side is not None:
        train.y[train_shards[2][:8]] = CLASSES - 1
    weights = (0.5, 3.0, 8.0, 1.0) if side is None else None
    data = Dataset("random", train, test, CLASSES, (0.5,), (0.25,), class_weights=weights)
    return data, Partition(train_shards, test_shards)


def federation_of(name):
    """(data, partition) of a case."""
    if "text" in name:
        return federation()
    data, partition = federation(16 if isinstance(CASES[name].model, config.CnnBn) else 4)
    noise = np.linspace(0, 0.5, CLIENTS, dtype=np.float32) if "noise" in name else None
    return data, partition._replace(noise=noise)


def make_simulator(name, data=None, devices=1, seed=SEED, evaluation=None, **layout):
    settings = dataclasses.replace(CASES[name], seed=seed, engine=config.Engine(**layout))
    settings = dataclasses.replace(settings, evaluation=evaluation or settings.evaluation)
    own, partition = federation_of(name)
    data = data or own
    task, method = DataSpec.of(data, partition).build(settings)
    return Simulator(settings, task, method, data, partition, make_mesh(devices))
