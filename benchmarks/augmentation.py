"""What it costs to alter images anew in every local step."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.pictures import bars, panels
from benchmarks.results import Outcome
from benchmarks.timing import take_turns
from benchmarks.workloads import SMALL_VIT, RepeatedRound, random_images
from fedtp_jax import SimulationConfig, config
from fedtp_jax.data.dataset import Dataset

KINDS: dict[str, tuple[Any, ...]] = {
    "none": (),
    "flip": ("flip",),
    "crop": ("crop",),
    "flip, crop": ("flip", "crop"),
}
REPEATS = 9
DESCRIPTION = f"""\
`training.augment`: seconds of a round of FedAvg with the 72,000-parameter ViT (medians of {REPEATS} in turn),
and times a round without. 10 of 50 clients, each an epoch over 240 images of 28x28 random pixels, batches
of 32.
"""


def measure(out: Path) -> Outcome:
    """About half a minute on 2 cores."""
    images = random_images(12_000)
    seconds = take_turns({name: _round(kinds, images) for name, kinds in KINDS.items()}, REPEATS)
    table = pd.DataFrame(
        [
            {"augment": name, "round, s": round(value, 3), "times": round(value / seconds["none"], 3)}
            for name, value in seconds.items()
        ]
    )
    return Outcome(DESCRIPTION, {"Altered images": table}, _picture(table))


def _round(kinds: tuple[Any, ...], images: Dataset) -> RepeatedRound:
    settings = SimulationConfig(
        partition=config.Iid(clients=50),
        model=SMALL_VIT,
        method=config.FedAvg(),
        training=config.Training(cohort_size=10, batch_size=32, augment=kinds),
    )
    return RepeatedRound(settings, images)


def _picture(table: pd.DataFrame) -> Figure:
    figure, (axes,) = panels(1, width=7.0, height=2.6)
    bars(
        axes,
        "A round, times one without",
        table["augment"].tolist(),
        table["times"].tolist(),
        [True] * len(table),
        "",
    )
    return figure
