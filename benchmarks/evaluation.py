"""The evaluations' share of a run that evaluates all clients every 10 rounds."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.pictures import bars, panels
from benchmarks.results import Outcome
from benchmarks.timing import seconds_of
from benchmarks.workloads import SMALL_VIT, RepeatedRound, random_images
from fedtp_jax import SimulationConfig, config, load_config
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.data.sources import load

EVERY, REPEATS = 10, 5
DESCRIPTION = f"""\
Every client on its whole test shard, every {EVERY} rounds: seconds of an evaluation and of a round (medians
of {REPEATS} in turn), and the evaluations' share of the run, evaluation / (evaluation + {EVERY} rounds).
"quickstart" is `configs/quickstart.yaml`; the others are the 72,000-parameter ViT on 60,000 train and 10,000
test images of 28x28 random pixels: 50 clients of two classes, 5 a round with 5 local epochs, as in the FedTP
paper's setting; 1,000 clients by Dirichlet(0.3), 100 a round with one epoch.
"""


def measure(out: Path) -> Outcome:
    """About 3 minutes on 2 cores."""
    rows = [_row(name, *workload) for name, workload in _workloads().items()]
    table = pd.DataFrame(rows)
    return Outcome(DESCRIPTION, {"Share of the evaluations": table}, _picture(table))


def _workloads() -> dict[str, tuple[SimulationConfig, Dataset]]:
    quickstart = load_config("configs/quickstart.yaml")
    images = random_images(60_000)

    def small_vit(partition: object, method: object, **training: Any) -> tuple[SimulationConfig, Dataset]:
        settings = SimulationConfig(
            partition=partition, model=SMALL_VIT, method=method, training=config.Training(**training)
        )
        return settings, images

    pathological = config.Pathological(clients=50, classes_per_client=2)
    dirichlet = config.Dirichlet(clients=1_000, alpha=0.3, min_size=1)
    return {
        "quickstart": (quickstart, load(quickstart.data)),
        "50 clients, FedTP": small_vit(
            pathological, config.FedTP(), cohort_size=5, local_epochs=5, batch_size=64
        ),
        "50 clients, FedAvg": small_vit(
            pathological, config.FedAvg(), cohort_size=5, local_epochs=5, batch_size=64
        ),
        "1,000 clients, FedTP": small_vit(dirichlet, config.FedTP(), cohort_size=100, batch_size=32),
    }


def _row(name: str, settings: SimulationConfig, data: Dataset) -> dict[str, object]:
    workload = RepeatedRound(settings, data)

    def evaluate() -> None:
        workload.simulator.evaluate(workload.state)

    seconds: dict[str, list[float]] = {"evaluation": [], "round": []}
    for turn in range(REPEATS + 1):
        for what, run in (("evaluation", evaluate), ("round", workload)):
            seconds[what].append(seconds_of(run))
            print(f"{name}, turn {turn} of {REPEATS}, {what}: {seconds[what][-1]:.3f} s", flush=True)
    medians = {what: float(pd.Series(times[1:]).median()) for what, times in seconds.items()}
    share = medians["evaluation"] / (medians["evaluation"] + EVERY * medians["round"])
    return {
        "workload": name,
        "clients": workload.simulator.partition.num_clients,
        "test examples": int(workload.simulator.partition.test.sizes.sum()),
        "evaluation, s": round(medians["evaluation"], 3),
        "round, s": round(medians["round"], 3),
        "share of the run": round(share, 3),
    }


def _picture(table: pd.DataFrame) -> Figure:
    figure, (axes,) = panels(1, width=7.0, height=3.0)
    percent = (100 * table["share of the run"]).tolist()
    title = f"Evaluations every {EVERY} rounds: share of the run"
    bars(axes, title, table["workload"].tolist(), percent, [True] * len(table), "%")
    return figure
