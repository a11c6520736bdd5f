"""What a run measures of its clients: by every evaluator, the last time and over its last evaluations."""

import dataclasses
import functools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedtp_jax.evaluation.attacked import beside_adversaries
from fedtp_jax.evaluation.metrics import Measured, Sums, headline_of_clients, summarize
from fedtp_jax.evaluation.parts import Confusion
from fedtp_jax.learning.method import State
from fedtp_jax.results.run_tables import ON_TEST_SHARDS, clients_table, rows_of_evaluation
from fedtp_jax.simulation.rounds import Simulator
from fedtp_jax.storage.checkpoints import Saved
from fedtp_jax.storage.stored_result import clients_history

if TYPE_CHECKING:
    import pandas as pd


class Evaluations:
    """Those of one run.

    Args:
      simulator: the run's.
      names: [N] of the clients, or none.

    Attributes:
      window: the clients' headline, [N] by each evaluator on test shards, of as many last evaluations as its
        mean is of.
      clients: makes the clients' table of the last evaluation when it is first called; None before any.
      history: rows of clients_history.csv, of every evaluation, if they are asked for.
    """

    def __init__(self, simulator: Simulator, names: Sequence[str]) -> None:
        self._simulator, self._names = simulator, names
        self._sums: dict[str, Sums] = {}  # of the last evaluation, by the evaluators' names
        self.window: deque[np.ndarray] = deque(maxlen=simulator.config.evaluation.last)
        self.clients: Callable[[], pd.DataFrame] | None = None
        self.history: list[pd.DataFrame] = []

    def take_up(self, saved: Saved) -> None:
        """Go on from what a checkpoint says."""
        tests = [name for name in self._simulator.evaluators.named if name in ON_TEST_SHARDS]
        before, window = saved.clients(len(tests) * self._simulator.partition.num_clients)
        self.clients = None if before is None else lambda: before
        self.window.extend(window)
        if (until_then := clients_history(saved)) is not None:
            self.history.append(until_then)

    def add(self, state: State) -> Measured:
        """Evaluate the clients of `state`."""
        simulator = self._simulator
        named = simulator.evaluators.named
        sums = {name: simulator.evaluate(state, evaluator=one) for name, one in named.items()}
        self._sums, trained = sums, state.rows.trained > 0
        reached = [headline_of_clients(sums[name]) for name in ON_TEST_SHARDS if name in sums]
        self.window.append(np.concatenate(reached))
        found = {name: summarize(part, simulator.evaluated, trained) for name, part in sums.items()}
        test = dataclasses.replace(found["test"], adapted=found.get("adapted"))
        attacked: dict[str, float] = {}
        if len(simulator.adversaries):
            attacked = beside_adversaries(sums, simulator.evaluated, simulator.adversaries)
        return Measured(test, found.get("validation"), found.get("fit"), attacked)

    def tabulate(self, state: State, history: Sequence[Mapping[str, Any]]) -> None:
        """Have `clients` and `history` say what was added last; `history`: rows of metrics.csv until now."""
        who = self._names, self._simulator.adversaries
        about = self._simulator.partition, [*history], state.rows.trained.copy(), *who
        self.clients = functools.cache(functools.partial(clients_table, self._sums, [*self.window], *about))
        if self._simulator.config.evaluation.clients_history:
            round = int(history[-1]["round"])
            self.history.append(rows_of_evaluation(self.clients(), round, self._simulator.evaluated))

    @property
    def none_yet(self) -> bool:
        """Whether none was made here; a run that was taken up may have `clients` all the same."""
        return not self._sums

    @property
    def counts_classes(self) -> bool:
        """Whether a measure is made of labels by predicted classes."""
        return any(
            measure.needs is Confusion for measure in self._simulator.evaluators.test.measures.values()
        )

    def counts(self, state: State) -> np.ndarray:
        """[C, C + 1] of labels by predicted classes in the last evaluation, which was of `state`."""
        sums = self._sums.get("test") or self._simulator.evaluate(state)  # nothing was left to do
        assert sums.counts is not None, "asked for where a measure is made of them"
        return sums.counts
