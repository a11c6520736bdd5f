"""What a run measures of its clients: by every evaluator, the last time and over its last evaluations."""

import dataclasses
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedtp_jax.evaluation.metrics import Measured, Sums, accuracies, summarize
from fedtp_jax.learning.method import State
from fedtp_jax.results.run_tables import ON_TEST_SHARDS, clients_table
from fedtp_jax.simulation.rounds import Simulator
from fedtp_jax.storage.checkpoints import Saved

if TYPE_CHECKING:
    import pandas as pd


class Evaluations:
    """Those of one run.

    Args:
      simulator: the run's.
      names: [N] of the clients, or none.

    Attributes:
      window: accuracies of the clients, [N] by each evaluator on test shards, of as many last evaluations as
        the headline is of.
    """

    def __init__(self, simulator: Simulator, names: Sequence[str]) -> None:
        self._simulator, self._names = simulator, names
        self._sums: dict[str, Sums] = {}  # of the last evaluation, by the evaluators' names
        self._trained = np.zeros(0, np.int32)  # [N] rounds of each client until then
        self._before: pd.DataFrame | None = None  # the clients' table of a run that was taken up
        self.window: deque[np.ndarray] = deque(maxlen=simulator.config.evaluation.last)

    def take_up(self, saved: Saved) -> None:
        """Go on from what a checkpoint says."""
        tests = [name for name in self._simulator.evaluators.named if name in ON_TEST_SHARDS]
        self._before, window = saved.clients(len(tests) * self._simulator.partition.num_clients)
        self.window.extend(window)

    @property
    def none_yet(self) -> bool:
        """Whether nothing is known of the clients."""
        return not self._sums and self._before is None

    def add(self, state: State) -> Measured:
        """Evaluate the clients of `state`."""
        simulator = self._simulator
        named = simulator.evaluators.named
        sums = {name: simulator.evaluate(state, evaluator=one) for name, one in named.items()}
        self._sums, self._trained = sums, state.rows.trained.copy()
        reached = [accuracies(sums[name]) for name in ON_TEST_SHARDS if name in sums]
        self.window.append(np.concatenate(reached))
        of = simulator.evaluated, self._trained > 0
        found = {name: summarize(part, *of) for name, part in sums.items()}
        test = dataclasses.replace(found["test"], adapted=found.get("adapted"))
        return Measured(test, found.get("validation"))

    def clients(self, history: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
        """The clients' table, of the last evaluation; `history`: the rows of metrics.csv until now."""
        if not self._sums and self._before is not None:
            return self._before
        about = self._simulator.partition, history, self._trained, self._names
        return clients_table(self._sums, self.window, *about)
