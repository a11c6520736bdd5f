"""Each method with the setting that does best on validation shards: the table of a sweep with `select`."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fedtp_jax.comparison.compare import compare
from fedtp_jax.comparison.compared_run import ComparedRun
from fedtp_jax.comparison.crosstab import TASK, is_task
from fedtp_jax.comparison.differing_fields import MACHINE, SEED, DifferingFields
from fedtp_jax.comparison.sheet import Sheet
from fedtp_jax.evaluation.choice import goodness
from fedtp_jax.storage.csv_log import write_csv
from fedtp_jax.storage.files import go_on_without
from fedtp_jax.sweeps.combinations import MEASURED, Combination

SELECTION = "selection.csv"


class Candidate(NamedTuple):
    """A setting all of whose seeds are finished; value: its metric, mean over the seeds."""

    combination: Combination
    runs: Sequence[ComparedRun]
    value: float


def select(out: Path, combinations: Sequence[Combination], metric: str) -> Sheet | None:
    """The table of each method's chosen setting, which selection.csv in `out` names; None if there is none.

    A setting is chosen among those of one method that solve one task, for as many rounds, by `metric`: the
    mean over its seeds of each run's mean over its last evaluations. What the table has of the chosen ones is
    of their test shards.
    """
    candidates, chosen = choose(combinations, metric)
    if not candidates:
        return None
    write_selection(out / SELECTION, candidates, chosen, metric)
    runs = [dataclasses.replace(run, config=_task(run.config)) for one in chosen for run in one.runs]
    sheet = compare(runs, MEASURED[metric]).sheet
    names = "; ".join(one.combination.name for one in chosen)
    notes = [
        *sheet.notes,
        f"Settings chosen among {len(candidates)} by {metric} (mean over seeds of each run's last "
        f"evaluations), never by test examples: {names}.",
    ]
    if left := [one.name for one in combinations if one.left]:
        notes.append(f"Not chosen from, not finished: {'; '.join(left)}.")
    return dataclasses.replace(sheet, notes=notes)


def choose(combinations: Sequence[Combination], metric: str) -> tuple[list[Candidate], list[Candidate]]:
    """(the settings that are finished, those of them that `metric` chooses)."""
    candidates = [_candidate(one, metric) for one in combinations if not one.left]
    return candidates, _chosen(candidates, metric) if candidates else []


def _candidate(combination: Combination, metric: str) -> Candidate:
    runs = [ComparedRun.read(combination.run(seed)) for seed in combination.seeds]
    return Candidate(combination, runs, float(np.mean([run.validated(metric) for run in runs])))


def _chosen(candidates: Sequence[Candidate], metric: str) -> list[Candidate]:
    """The best of each method and task, in their order; of equal ones the first."""
    differing = DifferingFields([one.runs[0].config for one in candidates], (*SEED, *MACHINE))
    groups: dict[Any, list[Candidate]] = {}
    for one in candidates:
        config = one.runs[0].config
        task = {field: value for field, value in differing.of(config).items() if is_task(field)}
        groups.setdefault((config["method"]["name"], repr(task)), []).append(one)
    return [max(group, key=lambda one: goodness(metric, one.value)) for group in groups.values()]


def _task(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without what was chosen: a row of the table is a method."""
    told = {name: value for name, value in config.items() if name in (*TASK, "seed") or "." in name}
    return told | {
        "evaluation": {name: value for name, value in config["evaluation"].items() if name != "knn"},
        "method": {"name": config["method"]["name"]},
        "training": {"rounds": config["training"]["rounds"]},
    }


def write_selection(
    path: Path, candidates: Sequence[Candidate], chosen: Sequence[Candidate], metric: str
) -> None:
    """A row for each setting: its figure on validation shards, and on test shards if it was chosen."""
    names = [one.combination.name for one in chosen]
    tested = MEASURED[metric] or candidates[0].runs[0].headline
    rows = [
        {
            "combination": one.combination.name,
            "method": one.runs[0].config["method"]["name"],
            "seeds": len(one.runs),
            metric: one.value,
            "chosen": int(one.combination.name in names),
            f"test_{tested}": np.mean([run.measure(tested) for run in one.runs])
            if one.combination.name in names
            else np.nan,
        }
        for one in candidates
    ]
    go_on_without(path, lambda: write_csv(path, pd.DataFrame(rows)))
