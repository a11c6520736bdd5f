"""Examples per second of each model through the engine, and their share of the machine's peak."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.flops import measured_peak, training_flops
from benchmarks.pictures import bars, panels
from benchmarks.results import Outcome
from benchmarks.timing import take_turns
from benchmarks.workloads import PAPER_VIT, SMALL_VIT, RepeatedRound, even_clients
from fedtp_jax import config
from fedtp_jax.engine.mesh import open_mesh

REPEATS = 3
CLIENTS_OF_A_CORE, CLIENTS_OF_AN_ACCELERATOR = 2, 32
DESCRIPTION = """\
FedAvg rounds of clients of equal size, through the engine with lanes: auto. GFLOP of an example: the matrix
products and convolutions of its loss and gradient, counted in the traced program (2 for a multiplication
and addition, nothing for element-wise work). Share of the peak: examples/s x GFLOP / what float32 matrix
products reach on all devices at once, measured in the same run. Medians over rounds that alternate between
the models.
"""


class Model(NamedTuple):
    """What to train: settings, and examples of a client and of a batch."""

    name: str
    settings: Any
    examples: int
    batch: int


MODELS = (
    Model("ViT, small (28x28x1)", SMALL_VIT, 1024, 32),
    Model("ViT, paper's (32x32x3)", PAPER_VIT, 64, 64),
    Model("CNN (28x28x1)", config.Cnn(), 2048, 64),
    Model("LSTM (10 characters)", config.Lstm(), 512, 64),
    Model("Transformer (10 characters)", config.Transformer(), 512, 64),
)


def measure(out: Path) -> Outcome:
    """About 2 minutes on 2 cores."""
    mesh = open_mesh("auto")
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    clients = mesh.size * (CLIENTS_OF_A_CORE if on_cpu else CLIENTS_OF_AN_ACCELERATOR)
    rounds = {
        model.name: RepeatedRound(*even_clients(model.settings, clients, model.examples, model.batch))
        for model in MODELS
    }
    peak = measured_peak(mesh)
    seconds = take_turns(rounds, REPEATS)
    peak = max(peak, measured_peak(mesh))
    rows = []
    for model in MODELS:
        run = rounds[model.name]
        speed = run.examples / seconds[model.name]
        flops = training_flops(run.simulator.task, model.batch) / model.batch
        layout = run.simulator.layout
        rows.append(
            {
                "model": model.name,
                "clients": clients,
                "batch": model.batch,
                "devices x lanes": f"{layout.devices} x {layout.lanes}",
                "examples/s": round(speed),
                "GFLOP per example": round(flops / 1e9, 5),
                "GFLOP/s": round(speed * flops / 1e9, 1),
                "share of peak": round(speed * flops / peak, 3),
            }
        )
    table = pd.DataFrame(rows)
    title = f"Peak of float32 matrix products: {peak / 1e9:,.0f} GFLOP/s"
    return Outcome(DESCRIPTION, {title: table}, _picture(table, peak))


def _picture(table: pd.DataFrame, peak: float) -> Figure:
    figure, (left, right) = panels(2, width=5.4, height=3.2)
    names, ours = table["model"].tolist(), [True] * len(table)
    bars(left, "Training speed", names, table["examples/s"].tolist(), ours, "examples/s")
    title = f"Share of the peak, {peak / 1e9:,.0f} GFLOP/s"
    bars(right, title, names, (100 * table["share of peak"]).tolist(), ours, "% of the peak")
    return figure
