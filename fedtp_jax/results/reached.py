"""What clients reached by one test, of a run's history: its headline."""

from typing import TYPE_CHECKING

from fedtp_jax.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def reached(history: "pd.DataFrame", test: str, last: int) -> dict[str, float]:
    """The last evaluation by "test" or "adapted", and the pooled accuracy over the `last` evaluations."""
    evaluated = history.dropna(subset="test_accuracy")
    if evaluated.empty:
        raise UserError("result: no round was evaluated yet; let the run get further (evaluation.every)")
    window, newest = evaluated[f"{test}_accuracy"].tail(last), evaluated.iloc[-1]
    statistics = "client_mean", "client_std", "worst_decile", "loss"
    return {
        "round": int(newest["round"]),
        "last": float(newest[f"{test}_accuracy"]),
        "mean": float(window.mean()),
        "std": float(window.std(ddof=0)),
        "evaluations": len(window),
        **{name: float(newest[f"{test}_{name}"]) for name in statistics},
    }
