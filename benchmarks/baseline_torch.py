"""Rounds of fedtp_jax beside those of a plain PyTorch simulator that trains one client after the other."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from matplotlib.figure import Figure

from benchmarks.machine import cores
from benchmarks.pictures import bars, panels
from benchmarks.results import Outcome
from benchmarks.timing import seconds_of, take_turns
from benchmarks.torch_models import Hypernetwork, Vit
from benchmarks.torch_rounds import Cohort, Server
from benchmarks.workloads import (
    PAPER_VIT,
    RepeatedRound,
    cohort_batches,
    dirichlet_64,
    even_clients,
    random_images,
)
from fedtp_jax import config, load_config
from fedtp_jax.config import SimulationConfig
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.partitions.partition import Partition

CONFIG = "configs/fashion_mnist_pathological_50.yaml"
TRIAL_STEPS = 3  # of a client, by which the number of threads is chosen
DESCRIPTION = f"""\
The same rounds by fedtp_jax and by a plain PyTorch simulator (benchmarks/torch_rounds.py), which trains one
client after the other: the same models, cohorts, batches and optimizers, dropout 0.1, random images.
PyTorch is given what speeds it up: examples lie in memory as normalised float32 tensors, small last batches
are not padded, projections and optimizer are fused, and it runs on one thread or on all cores, whichever is
faster in a trial. With dropout 0 both simulators reach the same weights
(tests/benchmarks/test_baseline_torch.py).

Workloads: FedAvg, 72,000-parameter ViT, 64 clients with Dirichlet(0.3) sizes, 16,000 examples, batch 32;
FedTP on 50 clients of 1,200 examples and 2 classes, as `{CONFIG}`; FedAvg, 2-million-parameter ViT on
32x32x3, 4 clients of 320 examples, batch 64. Whole rounds without evaluation; medians over rounds that
alternate between the two, so that a busy machine hurts both alike.
"""


class Workload(NamedTuple):
    """A round to compare; `repeats` of it are timed."""

    name: str
    settings: SimulationConfig
    data: Dataset
    repeats: int


def workloads() -> list[Workload]:
    """FedAvg with ragged clients, FedTP as published, FedAvg with a large model."""
    fedtp = load_config(CONFIG)
    return [
        Workload("FedAvg, small ViT, 64 ragged clients", *dirichlet_64(), repeats=5),
        Workload("FedTP, small ViT, 5 of 50 clients", fedtp, random_images(60_000), repeats=9),
        Workload("FedAvg, paper's ViT, 4 clients", *even_clients(PAPER_VIT, 4, 320, batch=64), repeats=3),
    ]


def measure(out: Path) -> Outcome:
    """About 5 minutes on 2 cores."""
    table = pd.DataFrame([_compare(workload) for workload in workloads()])
    return Outcome(DESCRIPTION, {"Whole rounds": table}, _picture(table))


def _compare(workload: Workload) -> dict[str, object]:
    ours = RepeatedRound(workload.settings, workload.data)
    theirs, threads = torch_round(workload.settings, workload.data, ours.simulator.partition)
    seconds = take_turns({"ours": ours, "theirs": theirs}, workload.repeats)
    return {
        "workload": workload.name,
        "fedtp_jax s/round": round(seconds["ours"], 3),
        "torch s/round": round(seconds["theirs"], 3),
        "torch threads": threads,
        "fedtp_jax examples/s": round(ours.examples / seconds["ours"]),
        "torch examples/s": round(ours.examples / seconds["theirs"]),
        "speed-up": round(seconds["theirs"] / seconds["ours"], 2),
    }


def torch_round(
    settings: SimulationConfig, data: Dataset, partition: Partition
) -> tuple[Callable[[], None], int]:
    """(round 0 in PyTorch, to be repeated; its number of threads)."""
    ids, batches = cohort_batches(settings, partition, 0)
    cohort = Cohort.of(ids, batches, partition.train.sizes[ids])
    server = torch_server(settings, data, partition.num_clients)
    threads = _best_threads(server, cohort)

    def run() -> None:
        torch.set_num_threads(threads)
        server.round(cohort)

    return run, threads


def torch_server(settings: SimulationConfig, data: Dataset, clients: int) -> Server:
    """The PyTorch simulator of these settings, FedAvg's or FedTP's, with PyTorch's own initial values."""
    torch.manual_seed(0)
    model = Vit(settings.model, data.input_shape, data.num_classes)
    if not isinstance(settings.method, config.FedTP):
        return Server(model, data, settings.training)
    hyper = settings.method.hypernetwork
    return Server(model, data, settings.training, Hypernetwork(hyper, clients, model), hyper)


def _best_threads(server: Server, cohort: Cohort) -> int:
    """One thread or all cores: the faster on a few steps, of two tries each."""
    steps = max(cohort.batches, key=len)[:TRIAL_STEPS]

    def trial(threads: int) -> float:
        torch.set_num_threads(threads)
        return min(seconds_of(lambda: server.train(steps)) for _ in range(2))

    return min(sorted({1, len(cores())}), key=trial)


def _picture(table: pd.DataFrame) -> Figure:
    figure, axes = panels(len(table), width=4.8, height=2.6)
    for axis, (_, row) in zip(axes, table.iterrows(), strict=True):
        title = f"{row['workload']}: {row['speed-up']:.1f} x"
        names = ["fedtp_jax", f"PyTorch, {row['torch threads']} thread{'s' * (row['torch threads'] > 1)}"]
        values = [row["fedtp_jax examples/s"], row["torch examples/s"]]
        bars(axis, title, names, values, [True, False], "examples/s")
    return figure
