"""What `engine.precision=bfloat16` costs in accuracy: the same seeds in float32 and in bfloat16."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.pictures import panels
from benchmarks.results import Outcome
from benchmarks.workloads import SMALL_VIT
from fedtp_jax import config, simulate

PRECISIONS, METHODS = ("float32", "bfloat16"), ("fedtp", "fedavg")
SEEDS = {"digits": (0, 1, 2), "Fashion-MNIST": (0, 1)}
TUNED = {"name": "fedtp", "hypernetwork": {"learning_rate": 0.1, "weight_decay": 1e-4}}
FASHION_MNIST: dict[str, Any] = {
    "data": "fashion_mnist",
    "partition": config.Dirichlet(clients=50, alpha=0.3),
    "model": SMALL_VIT,
    "training": {"rounds": 30, "cohort_size": 10, "batch_size": 32, "learning_rate": 0.05},
    "evaluation": {"every": 5},
}
SETTINGS = {
    "digits": {"config": "configs/quickstart.yaml", "evaluation": {"every": 5}},
    "Fashion-MNIST": FASHION_MNIST,
}
DESCRIPTION = f"""\
Two settings with FedTP and with FedAvg, each of some seeds in float32 and in bfloat16: digits,
`configs/quickstart.yaml` (359 test examples of 20 clients; {len(SEEDS["digits"])} seeds), and Fashion-MNIST
(10,000 of 50 clients with Dirichlet(0.3) shards, 10 a round, {FASHION_MNIST["training"]["rounds"]} rounds;
the small ViT of the other benchmarks; {len(SEEDS["Fashion-MNIST"])} seeds). Test accuracy in percent, mean
over the last five evaluations. Difference: bfloat16 minus float32 of the same seed, mean and the largest in
size; beside it how the seeds themselves differ in float32 (standard deviation). All of it was computed on
CPU; a GPU's or a TPU's bfloat16 sums in other orders, not with other numbers.
"""


def measure(out: Path) -> Outcome:
    """About 15 minutes on 2 cores."""
    rows, curves = [], {}
    for data, settings in SETTINGS.items():
        for method in METHODS:
            runs = {precision: _runs(data, settings, method, precision) for precision in PRECISIONS}
            rows.append(_row(data, method, *(runs[precision] for precision in PRECISIONS)))
            curves[f"{data}, {method}"] = {name: found[0] for name, found in runs.items()}
    return Outcome(DESCRIPTION, {"Test accuracy, %": pd.DataFrame(rows)}, _picture(curves))


def _runs(data: str, settings: dict[str, Any], method: str, precision: str) -> list[pd.Series]:
    """Of each seed, the test accuracies by round."""
    chosen = TUNED if method == "fedtp" and data != "digits" else method
    runs = simulate(**settings, method=chosen, engine={"precision": precision}, seeds=SEEDS[data])
    print(f"{data}, {method}, {precision}: {[round(run.accuracy['mean'], 4) for run in runs]}", flush=True)
    return [run.history.set_index("round")["test_accuracy"].dropna() for run in runs]


def _row(data: str, method: str, float32: list[pd.Series], bfloat16: list[pd.Series]) -> dict[str, Any]:
    whole, half = (np.array([100 * run.tail(5).mean() for run in runs]) for runs in (float32, bfloat16))
    difference = half - whole
    return {
        "data": data,
        "method": method,
        "float32": whole.mean().round(2),
        "bfloat16": half.mean().round(2),
        "difference, mean": difference.mean().round(2),
        "difference, largest": difference[np.abs(difference).argmax()].round(2),
        "seeds, std": whole.std(ddof=1).round(2),
    }


def _picture(curves: dict[str, dict[str, pd.Series]]) -> Figure:
    figure, axes = panels(len(curves), width=4.5, height=3.2)
    for ax, (title, lines) in zip(axes, curves.items(), strict=True):
        for precision, curve in lines.items():
            ax.plot(curve.index, 100 * curve, label=precision, linewidth=1)
        ax.set_title(f"{title}, seed 0", loc="left")
        ax.set_xlabel("round")
        ax.set_ylabel("test accuracy, %")
        ax.legend()
    return figure
