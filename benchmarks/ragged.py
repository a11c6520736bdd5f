"""Lanes against the two obvious ways to train clients of unequal size."""

import time
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from benchmarks.results import write
from fedtp_jax import config, engine
from fedtp_jax.data.federated import Dataset, Examples
from fedtp_jax.data.partition import make_partition
from fedtp_jax.rounds import Simulator
from fedtp_jax.task import TaskShape

CLIENTS, EXAMPLES, CLASSES = 64, 16_000, 10


REPEATS = 5
DESCRIPTION = """\
One FedAvg round of 64 clients with Dirichlet(0.3) sizes: 16,000 random 28x28 images of 10 classes, the
72,000-parameter ViT of configs/fashion_mnist_pathological_50.yaml, batch 32, dropout 0.1. Useful examples per
second; median over rounds that alternate between the layouts, so that a busy machine hurts all alike.
"""


def ragged(out: Path) -> None:
    """Measure and write ragged.json and ragged.md."""
    write("ragged", DESCRIPTION, _measure(), out)


def _measure() -> pd.DataFrame:
    layouts = {
        "lanes: auto": config.Engine(),
        "one device, lanes: 1 (clients in series)": config.Engine(devices=1, lanes=1),
        "one device, a lane per client (padded vmap)": config.Engine(devices=1, lanes=CLIENTS),
    }
    engine.open_mesh("auto")  # one device per core, before anything else starts the backend
    simulators = {name: _simulator(layout) for name, layout in layouts.items()}
    states = {name: simulator.init() for name, simulator in simulators.items()}
    prepared = {name: simulator.prepare(0) for name, simulator in simulators.items()}
    seconds: dict[str, list[float]] = {name: [] for name in layouts}
    for repeat in range(REPEATS + 1):
        for name, simulator in simulators.items():
            begin = time.perf_counter()
            states[name], result = simulator.round(states[name], 0, prepared[name])
            jax.block_until_ready(states[name])
            if repeat:  # the first includes compiling
                seconds[name].append(time.perf_counter() - begin)
    slowest = max(float(np.median(times)) for times in seconds.values())
    rows = []
    for name, simulator in simulators.items():
        median = float(np.median(seconds[name]))
        layout, work = simulator.layout, prepared[name]
        rows.append(
            {
                "layout": name,
                "devices x lanes": f"{layout.devices} x {layout.lanes}",
                "occupancy": round(work.useful_steps / work.executed_steps, 3),
                "seconds": round(median, 3),
                "examples/s": round(result.examples / median),
                "speed-up": round(slowest / median, 2),
            }
        )
    return pd.DataFrame(rows)


def _simulator(layout: config.Engine) -> Simulator:
    random = np.random.default_rng(0)

    def examples(count: int) -> Examples:
        x = random.integers(0, 256, (count, 28, 28, 1)).astype(np.uint8)
        return Examples(x, random.integers(0, CLASSES, count).astype(np.int32))

    data = Dataset("random", examples(EXAMPLES), examples(EXAMPLES // 6), CLASSES)
    settings = config.SimulationConfig(
        partition=config.Dirichlet(clients=CLIENTS, alpha=0.3),
        model=config.Vit(patch_size=7, dim=64, depth=2, heads=4, dim_head=16, mlp_dim=128),
        method=config.FedAvg(),
        training=config.Training(cohort_size=CLIENTS),
        engine=layout,
    )
    partition = make_partition(settings.partition, data, settings.seed)
    task, method = TaskShape.of(data, partition).build(settings)
    return Simulator(settings, task, method, data, partition, engine.open_mesh(layout.devices))
