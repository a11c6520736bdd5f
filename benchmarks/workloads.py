"""What the benchmarks train: random examples, models, and one round of a simulation to be repeated."""

import dataclasses
from typing import Any

import jax
import numpy as np

from fedtp_jax import config
from fedtp_jax.config import SimulationConfig
from fedtp_jax.core import rng
from fedtp_jax.data.dataset import Dataset, Examples
from fedtp_jax.data.text import ALPHABET, windows
from fedtp_jax.engine.mesh import open_mesh
from fedtp_jax.engine.schedule import Batches, sample_cohort, shuffled_batches
from fedtp_jax.partitions.make import make_partition
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.simulation.rounds import Simulator

CLASSES = 10
SMALL_VIT = config.Vit(patch_size=7, dim=64, depth=2, heads=4, dim_head=16, mlp_dim=128)  # 72,000 parameters
PAPER_VIT = config.Vit()  # 2 million, on images of 32x32 pixels
GREY, COLOUR = (28, 28, 1), (32, 32, 3)


def random_images(count: int, shape: tuple[int, ...] = GREY) -> Dataset:
    """`count` random uint8 train images with as many labels of each of 10 classes, and some to test on."""
    random = np.random.default_rng(0)

    def examples(count: int) -> Examples:
        x = random.integers(0, 256, (count, *shape), dtype=np.uint8)
        return Examples(x, random.permutation(np.arange(count, dtype=np.int32) % CLASSES))

    return Dataset("random", examples(count), examples(max(count // 6, CLASSES)), CLASSES)


def random_text(clients: int, examples: int, length: int) -> Dataset:
    """A random text of each client: `examples` train windows of `length` characters, and 8 to test on."""
    random = np.random.default_rng(0)

    def texts(count: int) -> list[np.ndarray]:
        return [random.integers(0, len(ALPHABET), count + length).astype(np.uint8) for _ in range(clients)]

    return Dataset("random", windows(texts(examples), length), windows(texts(8), length), len(ALPHABET))


def dirichlet_64() -> tuple[SimulationConfig, Dataset]:
    """FedAvg, small ViT, 16,000 examples of 64 clients with Dirichlet(0.3) sizes, all in the cohort."""
    settings = SimulationConfig(
        partition=config.Dirichlet(clients=64, alpha=0.3),
        model=SMALL_VIT,
        method=config.FedAvg(),
        training=config.Training(cohort_size=64, batch_size=32),
    )
    return settings, random_images(16_000)


def even_clients(model: Any, clients: int, examples: int, batch: int) -> tuple[SimulationConfig, Dataset]:
    """FedAvg of `clients` clients with `examples` each, all in the cohort."""
    is_text = isinstance(model, config.Transformer | config.Lstm)
    settings = SimulationConfig(
        partition=config.Natural() if is_text else config.Iid(clients=clients),
        model=model,
        method=config.FedAvg(),
        training=config.Training(cohort_size=clients, batch_size=batch),
    )
    if is_text:
        return settings, random_text(clients, examples, length=10)
    return settings, random_images(clients * examples, COLOUR if model == PAPER_VIT else GREY)


class RepeatedRound:
    """The same round of a simulation, again and again; a call waits until it is done.

    Attributes:
      simulator: whose round it is.
      waves: the cohort's.
      examples: that one round trains on, counted once per local epoch; known after the first call.
    """

    def __init__(self, settings: SimulationConfig, data: Dataset, devices: Any = "auto") -> None:
        mesh = open_mesh(devices)
        partition = make_partition(settings.partition, data, settings.seed)
        task, method = DataSpec.of(data, partition).build(settings)
        self.simulator = Simulator(settings, task, method, data, partition, mesh)
        self.state = self.simulator.init()
        self.waves = list(self.simulator.prepare(0))
        self.examples = 0

    def __call__(self) -> None:
        self.state, result = self.simulator.round(self.state, 0, self.waves)
        jax.block_until_ready(self.state._replace(rows={}))
        self.examples = result.examples

    @property
    def occupancy(self) -> float:
        """Share of the lanes' steps that train somebody."""
        executed = sum(wave.executed_steps for wave in self.waves)
        return sum(wave.useful_steps for wave in self.waves) / executed


def with_engine(settings: SimulationConfig, **fields: Any) -> SimulationConfig:
    """`settings` with these fields of its section engine."""
    return dataclasses.replace(settings, engine=config.Engine(**fields))


def cohort_batches(
    settings: SimulationConfig, partition: Partition, round: int
) -> tuple[np.ndarray, list[Batches]]:
    """(client ids [K], each one's local steps): those that the simulator draws for this round."""
    training, seed = settings.training, settings.seed
    cohort = sample_cohort(seed, round, np.flatnonzero(partition.train.sizes), training.cohort_size)
    batches = []
    for k in cohort:
        order = rng.generator(seed, rng.Purpose.BATCHES, round, int(k))
        shard = partition.train[int(k)]
        batches.append(shuffled_batches(shard, training.local_epochs, training.batch_size, order))
    return cohort, batches
