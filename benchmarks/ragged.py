"""Lanes against the obvious ways to train clients of unequal size, and how full lanes can be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.pictures import COLOURS, MARKERS, bars, panels, style
from benchmarks.plain_jax import PlainFedAvg
from benchmarks.results import Outcome
from benchmarks.timing import take_turns
from benchmarks.workloads import RepeatedRound, cohort_batches, dirichlet_64, random_images, with_engine
from fedtp_jax import config
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.engine.schedule import MAX_LANES, auto_lanes, pack, plan_layout, steps_of
from fedtp_jax.partitions.make import make_partition
from fedtp_jax.plots.style import LEGEND

REPEATS = 5
ALPHAS, COHORTS = (0.1, 0.3, 0.5, 1.0), (20, 64, 200, 1000)
LANES = (2, 8, 32)  # of which the occupancy is told, whether of one device or of several
DRAWS = 5  # partitions over which the occupancy is averaged
BATCH, MEAN_SIZE = 32, 250  # of the occupancy table: examples in a step, and of a client on average
SPEED, OCCUPANCY = "Speed, 64 clients with Dirichlet(0.3) sizes", "Occupancy of lanes"
DESCRIPTION = f"""\
Speed: one FedAvg round of 64 clients with Dirichlet(0.3) sizes, 16,000 random 28x28 images of 10 classes,
the 72,000-parameter ViT of configs/fashion_mnist_pathological_50.yaml, batch 32, dropout 0.1. Useful
examples per second; median over {REPEATS} rounds that alternate between the layouts, so that a busy machine
hurts all alike. The series of clients and the padded vmap are written without the engine
(benchmarks/plain_jax.py): a compiled loop over each client's own steps, called client by client; and vmap
over clients of a scan over as many steps as the longest has, with masked updates, on one device or with the
clients split over all.

Occupancy: useful steps / steps that all lanes could do until the last is done, for cohorts of clients with
{MEAN_SIZE} examples on average, batch {BATCH}, mean of {DRAWS} draws of the sizes. Padded vmap has a lane
per client. "at most" is the bound total steps / (lanes x longest client): where it is less than 1, the
single longest client bounds the round, and no order of the clients could fill the lanes better. `auto`: the
lanes that engine.lanes=auto takes on one accelerator.
"""


def measure(out: Path) -> Outcome:
    """About 3 minutes on 2 cores."""
    speed, occupancy = _speed(), _occupancy()
    return Outcome(DESCRIPTION, {SPEED: speed, OCCUPANCY: occupancy}, _picture(speed, occupancy))


# ------------------------------------------------------------------------------------------------- speed


def _speed() -> pd.DataFrame:
    settings, data = dirichlet_64()
    auto = RepeatedRound(settings, data)
    layout, simulator = auto.simulator.layout, auto.simulator
    more = (1, 2, 4, 8, 16, 32, 64) if simulator.bench.on_accelerator else (1, 2, 4, 8)
    rounds = {f"lanes: {layout.lanes} (auto)": auto}
    for lanes in sorted({*more} - {layout.lanes}):
        rounds[f"lanes: {lanes}"] = RepeatedRound(with_engine(settings, lanes=lanes), data)
    if layout.devices > 1:
        one = with_engine(settings, devices=1)
        rounds["lanes: auto, one device"] = RepeatedRound(one, data, devices=1)
    _, batches = cohort_batches(settings, simulator.partition, 0)
    plain = PlainFedAvg(simulator.task.model, data, settings.training)
    weights = plain.init()
    cases: dict[str, Callable[[], None]] = {
        **rounds,
        "clients in series": plain.in_series(weights, batches),
        "padded vmap": plain.padded(weights, batches),
    }
    if layout.devices > 1 and len(batches) % layout.devices == 0:
        cases["padded vmap, all devices"] = plain.padded(weights, batches, simulator.bench.mesh)
    seconds = take_turns(cases, REPEATS)
    steps = np.array([len(client.valid) for client in batches])
    rows = []
    for name, median in seconds.items():
        devices, lanes, occupancy = 1, 1, 1.0
        if name in rounds:
            used = rounds[name].simulator.layout
            devices, lanes, occupancy = used.devices, used.lanes, rounds[name].occupancy
        elif name.startswith("padded"):
            devices = layout.devices if "all" in name else 1
            lanes, occupancy = len(steps) // devices, steps.mean() / steps.max()
        rows.append(
            {
                "layout": name,
                "devices x lanes": f"{devices} x {lanes}",
                "occupancy": round(float(occupancy), 3),
                "at most": round(_bound(steps, devices * lanes), 3),
                "seconds": round(median, 3),
                "examples/s": round(auto.examples / median),
                "speed-up": round(seconds["padded vmap"] / median, 2),
            }
        )
    return pd.DataFrame(rows)


# --------------------------------------------------------------------------------------------- occupancy


def _occupancy() -> pd.DataFrame:
    return pd.DataFrame([_row(alpha, cohort) for alpha in ALPHAS for cohort in COHORTS])


def _row(alpha: float, cohort: int) -> dict[str, float]:
    data = random_images(MEAN_SIZE * cohort, shape=(1, 1, 1))
    draws = [_steps(data, alpha, cohort, seed) for seed in range(DRAWS)]
    row: dict[str, float] = {
        "alpha": alpha,
        "clients": cohort,
        "longest / mean client": _mean([steps.max() / steps.mean() for steps in draws], 1),
        "padded vmap": _mean([steps.mean() / steps.max() for steps in draws]),
    }
    for lanes in LANES:
        row[f"{lanes} lanes"] = _mean([_filled(steps, lanes) for steps in draws])
        row[f"{lanes} lanes at most"] = _mean([_bound(steps, lanes) for steps in draws])
    autos = [auto_lanes(steps, len(steps), 1, fill=MAX_LANES) for steps in draws]
    filled = [_filled(steps, lanes) for steps, lanes in zip(draws, autos, strict=True)]
    row["auto: lanes"] = _mean(autos, 1)
    row["auto"] = _mean(filled)
    row["auto: round / longest client"] = _mean(
        [
            steps.sum() / (lanes * share) / steps.max()
            for steps, lanes, share in zip(draws, autos, filled, strict=True)
        ],
        2,
    )
    return row


def _steps(data: Dataset, alpha: float, clients: int, seed: int) -> np.ndarray:
    """Local steps of those clients that a Dirichlet draw gives any example."""
    sizes = make_partition(config.Dirichlet(clients, alpha, min_size=0), data, seed).train.sizes
    return np.asarray(steps_of(sizes[sizes > 0], BATCH))


def _filled(steps: np.ndarray, lanes: int) -> float:
    """Occupancy of so many lanes, packed as the engine packs them."""
    queues = pack(steps.tolist(), plan_layout(steps, 1, lanes, BATCH))[0]
    return float(steps.sum() / (lanes * max(sum(steps[k] for k in queue) for queue in queues)))


def _bound(steps: np.ndarray, lanes: int) -> float:
    """What no packing exceeds: the longest client takes one lane that long."""
    return min(1.0, float(steps.sum() / (lanes * steps.max())))


def _mean(values: list[float] | list[int], digits: int = 3) -> float:
    return round(float(np.mean(values)), digits)


# ----------------------------------------------------------------------------------------------- picture


def _picture(speed: pd.DataFrame, occupancy: pd.DataFrame) -> Figure:
    figure, (left, right) = panels(2, width=5.6, height=4.2)
    names = speed["layout"].tolist()
    ours = [name.startswith("lanes") for name in names]
    bars(left, SPEED, names, speed["examples/s"].tolist(), ours, "examples/s")
    _draw_occupancy(right, occupancy)
    return figure


def _draw_occupancy(axes: Axes, table: pd.DataFrame) -> None:
    style(axes, "Occupancy, by Dirichlet's alpha")
    for (alpha, rows), colour, marker in zip(table.groupby("alpha"), COLOURS, MARKERS, strict=False):
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5}
        axes.plot(rows["clients"], rows["auto"], label=f"lanes: auto, {alpha}", **look)
        axes.plot(rows["clients"], rows["padded vmap"], ls="--", label=f"padded vmap, {alpha}", **look)
    axes.set_xscale("log")
    axes.set_xticks(COHORTS, [f"{cohort:,}" for cohort in COHORTS])
    axes.minorticks_off()
    axes.set(xlabel="clients in the cohort", ylabel="share of the steps that train somebody", ylim=(0, 1.02))
    axes.legend(ncols=1, loc="center left", bbox_to_anchor=(1.0, 0.5), **LEGEND)
