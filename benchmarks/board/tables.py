"""What the chosen runs of the board reached, cost and learnt, as rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fedtp_jax.comparison.compared_run import ComparedRun
from fedtp_jax.config.plain import flat
from fedtp_jax.storage.csv_log import csv_rows
from fedtp_jax.storage.run_folder import RunFolder
from fedtp_jax.sweeps.selection import Candidate

# what a setting is told by: the fields that board's files vary
VARIED = (
    *("training.learning_rate", "training.local_epochs", "method.mu", "method.weight", "method.penalty"),
    *("method.alpha", "method.hypernetwork.learning_rate"),
)
NATURAL = {"training.local_epochs": 1}


def rows_of(model: str, candidates: Sequence[Candidate], chosen: Sequence[Candidate]) -> list[dict[str, Any]]:
    """A row for each method and partition: mean and sample std over the seeds of its chosen setting."""
    return [_row(model, one, _tried(one, candidates)) for one in chosen]


def _row(model: str, one: Candidate, tried: int) -> dict[str, Any]:
    config = one.runs[0].config
    measures = {
        "accuracy": [100 * run.measure("accuracy") for run in one.runs],
        "adapted": [100 * run.measure("adapted_accuracy") for run in one.runs],
        "worst tenth": [100 * run.measure("worst_decile") for run in one.runs],
    }
    costs = [_costs(run) for run in one.runs]
    return {
        "model": model,
        "partition": config["partition"]["name"],
        "method": config["method"]["name"],
        "setting": _setting(config),
        "tried": tried,
        "seeds": len(one.runs),
        **{name: np.mean(values) for name, values in measures.items()},
        **{f"{name}, std": np.std(values, ddof=1) for name, values in measures.items() if len(values) > 1},
        "MB a round": np.mean([megabytes for megabytes, _ in costs]),
        "s a round": np.mean([seconds for _, seconds in costs]),
    }


def _tried(one: Candidate, candidates: Sequence[Candidate]) -> int:
    """From how many settings it was chosen."""
    own = one.runs[0].config
    configs = [other.runs[0].config for other in candidates]
    return sum(
        config["method"]["name"] == own["method"]["name"] and config["partition"] == own["partition"]
        for config in configs
    )


def _setting(config: dict[str, Any]) -> str:
    values = flat(config)
    told = [
        f"{field.partition('.')[2]}={values[field]}"
        for field in VARIED
        if field in values and values[field] is not None and values[field] != NATURAL.get(field)
    ]
    return ", ".join(told)


def _costs(run: ComparedRun) -> tuple[float, float]:
    """(megabytes that a round moves both ways, seconds that it takes, evaluation aside)."""
    assert run.folder, "a sweep's runs are on disk"
    folder = RunFolder(run.folder)
    history = csv_rows(folder.metrics.path.read_bytes())
    timing = csv_rows(folder.timing.content())
    moved = np.mean([row["bytes_down"] + row["bytes_up"] for row in history])
    # the first rounds may wait for programs that are compiled
    seconds = np.median([row["train_seconds"] for row in timing])
    return float(moved) / 1e6, float(seconds)


def curves_of(model: str, chosen: Sequence[Candidate]) -> list[dict[str, Any]]:
    """A row for each method, partition and evaluated round: mean and std over the seeds, in percent."""
    rows = []
    for one in chosen:
        config = one.runs[0].config
        found = pd.concat([run.evaluated.set_index("round")["test_accuracy"] for run in one.runs], axis=1)
        for number, values in (100 * found).iterrows():
            rows.append(
                {
                    "model": model,
                    "partition": config["partition"]["name"],
                    "method": config["method"]["name"],
                    "round": int(str(number).split(".")[0]),
                    "accuracy": values.mean(),
                    "std": values.std() if len(one.runs) > 1 else 0.0,
                }
            )
    return rows
