"""What each run reached, as rows."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from fedtp_jax import SimulationConfig
from fedtp_jax.config import Mean, name_of
from fedtp_jax.storage.run_folder import RunFolder
from fedtp_jax.sweeps.combinations import Combination

LAST = 3  # evaluations of which means are taken
FIGURES = ("test_accuracy", "honest_accuracy", "attack_success")  # in percent where they are measured


def rows_of(sweep: str, combinations: Sequence[Combination]) -> list[dict[str, Any]]:
    """A row for each combination and seed: what was asked, and what came of it."""
    return [_row(sweep, one, seed) for one in combinations for seed in one.seeds]


def _row(sweep: str, one: Combination, seed: int) -> dict[str, Any]:
    history = pd.read_csv(RunFolder(one.run(seed)).metrics.path)
    evaluated = history.dropna(subset="test_accuracy").iloc[-LAST:]
    reached = {name: 100 * evaluated[name].mean() for name in FIGURES if name in history}
    spent = evaluated["epsilon"].iloc[-1] if "epsilon" in history else None
    return {
        "sweep": sweep,
        "method": name_of(one.config.method),
        **_asked(one.config),
        "seed": seed,
        **reached,
        "epsilon": spent,
        "bytes_up": history["bytes_up"].sum() / history["clients"].sum(),
    }


def _asked(config: SimulationConfig) -> dict[str, Any]:
    bad = config.adversaries
    rule = config.server.aggregation
    defence = "mean" if isinstance(rule, Mean) else name_of(rule)
    return {
        "clients": config.partition.clients,
        "noise": config.privacy.noise_multiplier,
        "adversaries": f"{100 * bad.clients:.0f} % {bad.kind}" if bad.asked_for else "none",
        "upload": " + ".join(_step(step) for step in config.upload) or "none",
        "defence": "clip" if any(name_of(step) == "clip" for step in config.upload) else defence,
    }


def _step(step: Any) -> str:
    """Such as "top_k .01"."""
    amount = getattr(step, "bits", getattr(step, "share", getattr(step, "norm", None)))
    return name_of(step) + ("" if amount is None else f" {amount:g}")


def summary(rows: pd.DataFrame, by: Sequence[str], figure: str) -> pd.DataFrame:
    """Mean and sample std over the seeds of a figure, a row for each combination of `by`."""
    found = rows.groupby([*by], sort=False, dropna=False)[figure].agg(["mean", "std"]).reset_index()
    return found.fillna({"std": 0.0})
