"""What another order of float32 sums changes: one configuration and seed on other numbers of devices."""

import os
from pathlib import Path

import jax
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.pictures import panels
from benchmarks.results import Outcome
from fedtp_jax import simulate

CONFIG, METHODS, SEEDS, DEVICES = "configs/quickstart.yaml", ("fedtp", "fedavg"), range(5), (1, 2, 4)
ROUNDS = (1, 5, 10, 20, 40, 80, 150)
DESCRIPTION = f"""\
`{CONFIG}` (359 test examples of 20 clients), evaluated after every round, with FedTP and with FedAvg, each of
{len(SEEDS)} seeds on {", ".join(map(str, DEVICES[:-1]))} and {DEVICES[-1]} CPU devices. Nothing but the order
in which float32 numbers are summed differs. For each seed: the largest difference of its test accuracies
between two numbers of devices, in percent; the table has the mean and the largest over the seeds, and beside
it how the seeds themselves differ (standard deviation, mean over the devices).
"""


def measure(out: Path) -> Outcome:
    """About 15 minutes on 2 cores."""
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", max(DEVICES))
    curves = {method: np.array([_curves(method, n) for n in DEVICES]) for method in METHODS}
    table = pd.concat([_rows(method, curve) for method, curve in curves.items()])
    return Outcome(DESCRIPTION, {"Differences of test accuracies, %": table}, _picture(curves))


def _curves(method: str, devices: int) -> list[np.ndarray]:
    """[seeds][rounds] test accuracies."""
    runs = simulate(CONFIG, method=method, evaluation={"every": 1}, engine={"devices": devices}, seeds=SEEDS)
    print(f"{method}, {devices} devices: {[round(run.accuracy['last'], 3) for run in runs]}", flush=True)
    return [run.history["test_accuracy"].to_numpy() for run in runs]


def _rows(method: str, curves: np.ndarray) -> pd.DataFrame:
    """A row for each of some rounds; curves [devices, seeds, rounds]."""
    at = np.array(ROUNDS) - 1
    apart, between = 100 * np.ptp(curves, axis=0)[:, at], 100 * curves.std(axis=1).mean(0)[at]
    return pd.DataFrame(
        {
            "method": method,
            "round": ROUNDS,
            "accuracy": (100 * curves.mean((0, 1))[at]).round(2),
            "devices, mean": apart.mean(0).round(2),
            "devices, largest": apart.max(0).round(2),
            "seeds, std": between.round(2),
        }
    )


def _picture(curves: dict[str, np.ndarray]) -> Figure:
    figure, axes = panels(len(curves), width=9.0, height=3.2)
    for ax, (method, values) in zip(axes, curves.items(), strict=True):
        for n, curve in zip(DEVICES, values[:, 0], strict=True):
            ax.plot(np.arange(1, curve.size + 1), 100 * curve, label=f"{n} devices", linewidth=1)
        ax.set_title(f"{method}, seed {SEEDS[0]}", loc="left")
        ax.set_xlabel("round")
        ax.set_ylabel("test accuracy, %")
        ax.legend()
    return figure
