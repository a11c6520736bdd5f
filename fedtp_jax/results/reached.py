"""What clients reached by one test, of a run's history: its headline."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fedtp_jax.config.metrics import WORDS, columns_of, headline_of, shown, told
from fedtp_jax.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


class Reached(dict[str, float]):
    """The last evaluation, and mean and std of the pooled headline over the last ones, by name.

    measure: what it is of, "accuracy" or "mae".
    """

    def __init__(self, measure: str, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.measure = measure

    @property
    def words(self) -> str:
        """What is measured."""
        return WORDS[self.measure]

    def told(self, name: str, digits: int = 4) -> str:
        """A value in words."""
        return told(self.measure, self[name], digits)

    def shown(self, name: str) -> str:
        """A value for a table, with its unit."""
        return shown(self.measure, self[name]) + "%" * (self.measure == "accuracy")


def evaluated_rounds(history: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of rounds that were evaluated."""
    return history.dropna(subset="clients_tested")


def reached(history: "pd.DataFrame", test: str, last: int) -> Reached:
    """The last evaluation by "test", "adapted" or "fit", and the pooled headline over `last` evaluations."""
    evaluated = evaluated_rounds(history)
    if evaluated.empty:
        raise UserError("result: no round was evaluated yet; let the run get further (evaluation.every)")
    pooled, *over_clients = [f"{test}_{column}" for column in columns_of(headline_of(history.columns))]
    window, newest = evaluated[pooled].tail(last), evaluated.iloc[-1]
    with np.errstate(invalid="ignore"):  # errors without bound have no std
        std = float(window.std(ddof=0))
    statistics = dict(zip(("client_mean", "client_std", "worst_decile"), over_clients, strict=True))
    return Reached(
        headline_of(history.columns),
        {
            "round": int(newest["round"]),
            "last": float(newest[pooled]),
            "mean": float(window.mean()),
            "std": std,
            "evaluations": len(window),
            **{name: float(newest[column]) for name, column in statistics.items()},
            "loss": float(newest[f"{test}_loss"]),
        },
    )


def headline(result: Any, test: str = "test") -> Reached:
    """What a `Result`'s clients reached by a test."""
    return reached(result.history, test, result.config.evaluation.last)
