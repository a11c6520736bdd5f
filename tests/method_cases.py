"""Five small clients, and simulators of any method on any model."""

import dataclasses

import jax
import numpy as np

from fedtp_jax import config
from fedtp_jax.data.dataset import Dataset, Examples, Windows
from fedtp_jax.engine.lanes import Batch, Row
from fedtp_jax.engine.mesh import make_mesh
from fedtp_jax.engine.workbench import make_facts
from fedtp_jax.partitions.partition import Partition, Shards
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.simulation.rounds import Simulator

TRAIN, TEST = (5, 3, 8, 4, 6), (2, 0, 1, 3, 2)  # examples of each client
CLIENTS, CLASSES, SEED = len(TRAIN), 3, 3
TRAINING = config.Training(rounds=2, cohort_size=3, batch_size=4, learning_rate=0.05, weight_decay=1e-3)
PLAIN = dataclasses.replace(TRAINING, optimizer=config.Optimizer("sgd"))  # as scaffold asks for
HYPER = config.Hypernetwork(embedding=3, hidden=4, layers=1)
MODELS = {
    "vit": config.Vit(patch_size=2, dim=6, depth=1, heads=2, dim_head=3, mlp_dim=4, dropout=0.1),
    "cnn": config.Cnn(kernels=1),
    "cnn_bn": config.CnnBn(kernels=1),
    "cnn1d": config.Cnn1d(kernels=1, hidden=2),
    "mlp": config.Mlp(hidden=3, layers=1),
    "transformer": config.Transformer(dim=6, depth=1, heads=2, dim_head=3, mlp_dim=4, dropout=0.0),
    "lstm": config.Lstm(embedding=2, hidden=3, layers=1),
}
METHODS = {
    name: kind(hypernetwork=dataclasses.replace(kind().hypernetwork, embedding=3, hidden=4, layers=1))
    if hasattr(kind, "hypernetwork") or issubclass(kind, config.FedTP)
    else kind()
    for name, kind in config.METHODS.items()
}


def federation(model):
    """(data, partition) for a model: random images [M, S, S, 1], series, or windows of a random text."""
    random = np.random.default_rng(0)

    def split(sizes):
        count, side = sum(sizes), 4 if model == "vit" else 16
        shards = Shards.from_lists(np.split(random.permutation(count), np.cumsum(sizes)[:-1]))
        if model == "cnn1d":
            series = random.normal(size=(count, 16, 2)).astype(np.float32)
            return Examples(series, random.integers(0, CLASSES, count).astype(np.int32)), shards
        if model in ("transformer", "lstm"):
            text = random.integers(0, CLASSES, count + 5).astype(np.uint8)
            return Windows(text, np.arange(count, dtype=np.int32), length=5), shards
        x = random.integers(0, 256, (count, side, side, 1)).astype(np.uint8)
        return Examples(x, random.integers(0, CLASSES, count).astype(np.int32)), shards

    (train, train_shards), (test, test_shards) = split(TRAIN), split(TEST)
    return Dataset("random", train, test, CLASSES, (0.5,), (0.25,)), Partition(train_shards, test_shards)


def simulator(method, model, data=None, noise=None, share_with=None, **settings):
    """A simulator of `method` (a name or its settings) on `model`, perhaps on another model's data."""
    data, partition = federation(data or model)
    partition = partition._replace(noise=noise)
    method = METHODS[method] if isinstance(method, str) else method
    passes = (
        2 if isinstance(method, config.FedRep | config.FedPAC) else 1
    )  # one for the head, one for the body
    training = dataclasses.replace(TRAINING, local_epochs=passes)
    training = PLAIN if isinstance(method, config.Scaffold) else training
    settings = {"seed": SEED, "training": training, **settings}
    model = MODELS[model]
    if isinstance(method, config.FedPerfix) and hasattr(model, "adapter"):
        model = dataclasses.replace(model, adapter=config.Adapter(size=3))
    settings = config.SimulationConfig(model=model, method=method, **settings)
    task, built = DataSpec.of(data, partition).build(settings)
    return Simulator(settings, task, built, data, partition, make_mesh(1), share_with)


def one_step(sim, shared, leaves):
    """What a client sends after a step on its first batch."""
    facts = jax.tree.map(lambda leaf: leaf[0], make_facts(np.zeros(1), [], weight=np.full(1, 0.5), rate=1.0))
    row, key = Row(leaves, facts), jax.random.key(2)
    positions = np.arange(4)[None]
    x, y = sim.bench.examples.pick(positions)
    batch = Batch(x[0], y[0], np.ones(4, np.float32), np.int32(0), positions[0])
    work = sim.method.work
    carry = work.step(shared, row, work.start(shared, row, key), batch, key)
    return work.finish(shared, row, carry)
