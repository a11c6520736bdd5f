"""From 10 to 10,000 clients a round: cost of a client, memory, and the host's share."""

import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.pictures import lines, panels
from benchmarks.processes import measure_apart, peak_megabytes
from benchmarks.results import Outcome
from benchmarks.workloads import SMALL_VIT, random_images
from fedtp_jax import SimulationConfig, config
from fedtp_jax.engine.mesh import open_mesh
from fedtp_jax.engine.waves import Prefetch
from fedtp_jax.partitions.make import make_partition
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.simulation.rounds import Simulator

COHORTS = (10, 100, 1_000, 10_000)
CLIENTS, TRAIN, BATCH = 20_000, 20, 10
TURNS = 2
STEPS = TRAIN // BATCH  # of a client in a round
DESCRIPTION = f"""\
FedTP rounds with the 72,000-parameter ViT (28x28 images), {CLIENTS:,} clients of {TRAIN} examples each
(`sampled` from 10,000 images), one local epoch, batch {BATCH}, and more and more clients a round. Every
cohort is measured by a process of its own, {TURNS} times in turn, over rounds of at least 1,000 clients in
all; medians. "ms a step" is a round's time over its local steps on all devices together; "peak MB" the
process's highest memory; "host share" the part of a round in which the devices wait: 1 - time of its programs
(training and aggregation) alone on the same waves / time of the round. "aggregation" is that program's part;
"preparation" what the thread beside the devices takes for the waves, as a part of the round.
"""


def measure(out: Path) -> Outcome:
    """About 6 minutes on 2 cores."""
    rows = []
    for turn in range(TURNS):
        for cohort in COHORTS:
            rows.append({"clients a round": cohort, **measure_apart("benchmarks.cohort", cohort)})
            print(f"turn {turn + 1} of {TURNS}: {rows[-1]}", flush=True)
    table = pd.DataFrame(rows).groupby("clients a round").median().reset_index()
    table["cost beside cohort 100"] = table["ms a step"] / table["ms a step"][1]
    table["memory beside cohort 100"] = table["peak MB"] / table["peak MB"][1]
    table = table.round(3).astype({"waves": int, "peak MB": int})
    return Outcome(DESCRIPTION, {"Cost by cohort": table}, _picture(table))


def _picture(table: pd.DataFrame) -> Figure:
    figure, axes = panels(2)
    cohorts = table["clients a round"].tolist()
    lines(axes[0], "Cost of a local step", cohorts, {"FedTP": table["ms a step"].tolist()}, "ms")
    lines(axes[1], "Peak memory", cohorts, {"FedTP": table["peak MB"].tolist()}, "MB")
    for one in axes:
        one.set_xlabel("clients a round")
        one.set_ylim(bottom=0)
    return figure


# ----------------------------------------------------------------------------------- a process of its own


def _serve(cohort: int) -> None:
    """Measure rounds of so many clients and print what was found."""
    simulator = _simulator(cohort)
    rounds = max(1, 1_000 // cohort)
    state, seconds, host = simulator.init(), [], 0.0
    prefetch = Prefetch(map(simulator.prepare, range(rounds + 1)))
    for round in range(rounds + 1):
        begin = time.perf_counter()
        state, result = simulator.round(state, round, prefetch.take())
        jax.block_until_ready(state.shared)
        if round:  # the first one compiles
            seconds.append(time.perf_counter() - begin)
            host += result.host_seconds
    prefetch.close()
    peak = peak_megabytes()
    total = sum(seconds)
    alone = []
    for _ in range(min(rounds, 3)):
        state, train, aggregate = _programs_alone(simulator, state)
        alone.append((rounds * train, rounds * aggregate))
    train, aggregate = (statistics.median(times) for times in zip(*alone, strict=True))
    found = {
        "waves": -(-cohort // simulator.bench.wave_size(cohort, simulator.row_bytes)),
        "seconds a round": total / rounds,
        "ms a step": 1e3 * total / (rounds * cohort * STEPS),
        "peak MB": peak,
        "host share": max(0.0, 1 - (train + aggregate) / total),
        "aggregation": aggregate / total,
        "preparation": host / total,
    }
    print(json.dumps(found))


def _simulator(cohort: int) -> Simulator:
    settings = SimulationConfig(
        partition=config.Sampled(clients=CLIENTS, train_examples=TRAIN, test_examples=1),
        model=SMALL_VIT,
        method=config.FedTP(),
        training=config.Training(cohort_size=cohort, batch_size=BATCH, rounds=10_000),
        evaluation=config.Evaluation(clients=10),
    )
    data = random_images(10_000)
    partition = make_partition(settings.partition, data, 0)
    task, method = DataSpec.of(data, partition).build(settings)
    return Simulator(settings, task, method, data, partition, open_mesh("auto"))


def _programs_alone(simulator: Simulator, state: Any) -> tuple[Any, float, float]:
    """(state, seconds of training, of aggregation) of a round, with all that programs need on the devices."""
    server, key, seconds = state._replace(rows={}), jax.random.key(0), 0.0
    totals = jax.block_until_ready(simulator.programs("zeros", simulator._zero_totals, server))
    for wave, rows in _placed(simulator, state):
        begin = time.perf_counter()
        totals, _ = simulator.programs(
            "train",
            simulator._train_wave,
            *(server, rows, totals, wave, simulator.bench.examples, key),
            donate=(2,),
        )
        jax.block_until_ready(totals)
        seconds += time.perf_counter() - begin
    begin = time.perf_counter()
    server = simulator.programs("aggregate", simulator.method.aggregate, server, *totals, donate=(0,))
    jax.block_until_ready(server)
    return server._replace(rows=state.rows), seconds, time.perf_counter() - begin


def _placed(simulator: Simulator, state: Any) -> Iterator[tuple[Any, Any]]:
    """Waves of a round, and their rows on the devices."""
    for prepared in simulator.prepare(1):
        rows = state.rows.take(prepared.ids, list(simulator.initial.own_row))
        yield jax.block_until_ready((prepared.wave, jax.device_put(rows, simulator.bench.per_device)))


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
