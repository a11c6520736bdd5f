"""A virtual clock: when clients would return on devices and links as they have them (docs/clock.md).

System heterogeneity as FedScale (Lai et al., 2022, arXiv 2105.11367) has it: a client downloads, trains and
uploads. All of it is known before a round, so that to the engine it is only a schedule.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fedtp_jax.config import SimulationConfig
from fedtp_jax.engine.prelude import Prelude
from fedtp_jax.engine.schedule import steps_of
from fedtp_jax.simulation.client_speeds import client_speeds

CLOSE = 1e-9  # a share of the deadline, or of a step, that is rounding


class Clock:
    """When clients return, and what they have done by the deadline.

    Args:
      config: with training.clock.
      sizes: [N] train examples of all clients.
      traffic: bytes that one client of a cohort receives and sends in a round.
      prelude: steps before the local ones, which take time as these do.
      names: [N] of clients, or none.

    Attributes:
      deadline: in seconds, None if there is none.
    """

    def __init__(
        self,
        config: SimulationConfig,
        sizes: np.ndarray,
        traffic: tuple[int, int],
        prelude: Prelude,
        names: Sequence[str] = (),
    ) -> None:
        clock, batch = config.training.clock, config.training.batch_size
        speeds = client_speeds(config, sizes, names)
        self.deadline, self._partial = clock.deadline, clock.late == "partial"
        self._speed, self._travel = speeds.work, traffic[0] / speeds.down + traffic[1] / speeds.up
        if clock.unit == "examples":
            self._of_step, self._of_pass, self._in_pass = batch, sizes, steps_of(sizes, batch)
            self._before = prelude.examples(sizes)
        else:
            self._of_step, self._of_pass, self._in_pass = 1, np.ones_like(sizes), np.ones_like(sizes)
            self._before = prelude.steps(sizes, batch)

    def returns(self, ids: np.ndarray, steps: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """([K] local steps that each of `ids` has done by the deadline, [K] seconds after which it returns).

        0 steps: it does not return. A straggler takes for its `steps` [K] as long as usually for the `whole`.
        """
        slower = self._work(ids, whole) / self._work(ids, steps)
        done = steps
        if self.deadline is not None:
            late = self._seconds(ids, steps, slower) > self.deadline * (1 + CLOSE)
            done = np.where(late, self._that_fit(ids, slower) if self._partial else 0, steps)
        seconds = self._seconds(ids, done, slower)
        return done, seconds if self.deadline is None else seconds.clip(max=self.deadline)

    def lasts(self, seconds: np.ndarray, waited_for: int) -> float:
        """Seconds of a round to which clients have returned after these, if it waits for so many of them.

        Of a client that does not return a round without a deadline knows at once.
        """
        if self.deadline is not None and len(seconds) < waited_for:
            return self.deadline
        return float(seconds.max(initial=0.0))

    def _seconds(self, ids: np.ndarray, steps: np.ndarray, slower: np.ndarray) -> np.ndarray:
        work = self._before[ids] + self._work(ids, steps) * slower
        return np.asarray(self._travel[ids] + work / self._speed[ids])

    def _work(self, ids: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Of so many local steps, in the unit of speeds: the last batch of a pass may be smaller."""
        passes, rest = np.divmod(steps, self._in_pass[ids])
        return np.asarray(passes * self._of_pass[ids] + rest * self._of_step)

    def _that_fit(self, ids: np.ndarray, slower: np.ndarray) -> np.ndarray:
        """[K] local steps until the deadline, of those that are late: the inverse of `_work`."""
        assert self.deadline is not None
        left = (self.deadline - self._travel[ids]).clip(0)
        with np.errstate(invalid="ignore"):  # infinitely fast, and late by its links alone
            work = np.nan_to_num((left * self._speed[ids] - self._before[ids]) / slower, nan=0.0, posinf=0.0)
        work = work.clip(0) + CLOSE
        passes, rest = np.divmod(work, self._of_pass[ids])
        return np.asarray(passes * self._in_pass[ids] + rest // self._of_step).astype(np.int64)


def make_clock(config: SimulationConfig, *about: Any) -> Clock | None:
    """The clock that `config` asks for, or None; `about`: the other arguments of Clock."""
    return Clock(config, *about) if config.training.clock.asked_for else None
