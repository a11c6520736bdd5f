"""From a hundred to a million clients: time and memory of rounds whose cohort stays the same."""

import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.pictures import lines, panels
from benchmarks.processes import measure_apart, peak_megabytes
from benchmarks.results import Outcome
from benchmarks.workloads import random_images
from fedtp_jax import Progress, SimulationConfig, config, simulate

POPULATIONS = (100, 1_000, 10_000, 100_000, 1_000_000)
COHORT, ROUNDS = 100, 20
CASES: dict[str, tuple[Any, Literal["memory", "disk"]]] = {
    "fedtp": (config.FedTP(), "memory"),
    "vanilla": (config.Vanilla(), "memory"),
    "vanilla, rows on disk": (config.Vanilla(), "disk"),
}
MODEL = config.Vit(patch_size=7, dim=32, depth=1, heads=2, dim_head=16, mlp_dim=64)
DESCRIPTION = f"""\
{ROUNDS} rounds of {COHORT} clients, whatever the population: a ViT of depth 1 and width 32 on 28x28 images,
clients of 20 train and 5 test examples (`sampled` from 60,000 images), batch 10, one evaluation of at most
1,000 clients at the end. *fedtp*: an embedding of 128 numbers and its momentum for each client, stepped for
all clients up to 10,000 and for the cohort above. *vanilla*: 3,072 numbers of query, key and value for each
client. Every case is a process of its own. "set-up" is the time from the call of `simulate` to the first
finished round (partition, compilation); "a round" the median of the later ones; "peak MB" the process's
highest memory, in which rows on disk count as far as their pages are in memory; "MB before" what it holds
when packages and data are loaded.
"""


def measure(out: Path) -> Outcome:
    """About 6 minutes on 2 cores."""
    rows = []
    for clients in POPULATIONS:
        for case in CASES:
            found = measure_apart("benchmarks.population", case, clients)
            rows.append({"method": case, "clients": clients, **found})
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows).sort_values(["method", "clients"], kind="stable").reset_index(drop=True)
    return Outcome(DESCRIPTION, {"Cost by population": table}, _picture(table))


def _picture(table: pd.DataFrame) -> Figure:
    figure, axes = panels(2)
    for one, column, title, unit in (
        (axes[0], "a round", "Time of a round", "seconds"),
        (axes[1], "peak MB", "Peak memory", "MB"),
    ):
        groups = {case: table[table["method"] == case][column].tolist() for case in CASES}
        lines(one, title, list(POPULATIONS), groups, unit)
        one.set_xlabel("clients")
        one.set_ylim(bottom=0)
    return figure


# ----------------------------------------------------------------------------------- a process of its own


def _serve(case: str, clients: int) -> None:
    """Run the simulation and print what was found."""
    method, where = CASES[case]
    data = random_images(60_000)
    before, times = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, [time.perf_counter()]
    settings = SimulationConfig(
        partition=config.Sampled(clients=clients, train_examples=20, test_examples=5),
        model=MODEL,
        method=method,
        training=config.Training(cohort_size=COHORT, batch_size=10, rounds=ROUNDS),
        evaluation=config.Evaluation(every=ROUNDS, clients=min(clients, 1_000)),
        engine=config.Engine(rows=where),
    )
    seconds = []

    def on_round(progress: Progress) -> None:
        seconds.append(progress.seconds)
        times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        simulate(settings, data=data, out=Path(folder) / "run", on_round=on_round)
        total = time.perf_counter() - times[0]
    found = {
        "set-up": round(times[1] - times[0], 2),
        "a round": round(statistics.median(seconds[1:]), 4),
        "whole run": round(total, 1),
        "MB before": round(before),
        "peak MB": peak_megabytes(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
