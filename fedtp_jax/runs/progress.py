"""What a run tells of itself while it goes on, and who hears it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from fedtp_jax.evaluation.metrics import Tested
from fedtp_jax.simulation.round_result import RoundResult

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Progress:
    """What `on_round` and `on_evaluation` hear.

    Attributes:
      seed: of the simulation.
      round, rounds: rounds done, and of how many.
      result: of this round.
      test: the newest evaluation of this call on the test shards, None before the first.
      validation: the same on the validation shards, None where there are none.
      evaluated: whether that evaluation is of this round.
      seconds: this round's time without evaluation and checkpoint.
      row: this round's row of metrics.csv and of `Result.history`.
    """

    seed: int
    round: int
    rounds: int
    result: RoundResult
    test: Tested | None
    validation: Tested | None
    evaluated: bool
    seconds: float
    row: Mapping[str, Any]
    _make_clients: "Callable[[], pd.DataFrame] | None" = dataclasses.field(default=None, repr=False)

    @property
    def clients(self) -> "pd.DataFrame | None":
        """`Result.clients` as of the newest evaluation of this call, None before the first.

        It is made when it is asked for.
        """
        return self._make_clients() if self._make_clients else None


Resume = bool | Literal["further"]
OnRound = Callable[[Progress], None]
OnEvaluation = Callable[[Progress], bool | None]
