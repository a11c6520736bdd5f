"""FedAvg's clients as they are, and after each has trained the given model on its own train shard."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.paper.store import percent
from fedtp_jax import Result
from fedtp_jax.config import name_of
from fedtp_jax.plots.style import BLUE, GREEN, LEGEND, Picture, style

TESTS = {"as it is": "test_accuracy", "adapted": "adapted_accuracy"}
COLOURS = {"as it is": BLUE, "adapted": GREEN}


def measure(runs: Sequence[Result]) -> pd.DataFrame:
    """A row per evaluation and test: pooled accuracy."""
    (result,) = runs
    evaluated = result.history.dropna(subset="test_accuracy")
    about = {
        "partition": name_of(result.config.partition),
        "method": name_of(result.config.method),
        "seed": result.config.seed,
    }
    return pd.DataFrame(
        [
            {**about, "round": round, "test": test, "accuracy": accuracy}
            for test, column in TESTS.items()
            for round, accuracy in zip(evaluated["round"], evaluated[column].round(5), strict=True)
        ]
    )


def table(found: pd.DataFrame) -> pd.DataFrame:
    """Mean ± sample std over seeds in percent: at the last round, and over the last five evaluations."""
    rounds = sorted(found["round"].unique())
    keys = ["partition", "method", "test"]
    last = found[found["round"] == rounds[-1]].groupby(keys, sort=False)["accuracy"].agg(percent)
    late = found[found["round"].isin(rounds[-5:])].groupby([*keys, "seed"], sort=False)["accuracy"].mean()
    means = late.groupby(keys, sort=False).agg(percent)
    return pd.DataFrame({"last round": last, "last five evaluations": means}).reset_index()


def picture(found: pd.DataFrame) -> Figure:
    """Mean accuracy by round, a panel per partition."""
    figure = Picture(figsize=(9, 3.8), layout="constrained")
    partitions = list(dict.fromkeys(found["partition"]))
    for axes, partition in zip(
        figure.subplots(1, len(partitions), squeeze=False)[0], partitions, strict=True
    ):
        style(axes, partition, "round", "test accuracy (%)")
        for test, part in found[found["partition"] == partition].groupby("test", sort=False):
            mean = 100 * part.groupby("round")["accuracy"].mean()
            axes.plot(mean.index, mean, label=test, color=COLOURS[str(test)], marker="o")
        axes.legend(**LEGEND)
    return figure
