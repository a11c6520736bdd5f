"""Who takes part in a round, with how many local steps: cohort, availability, dropout, stragglers, deadline.

All of it is drawn on the host before the round: to the engine it is only a schedule.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fedtp_jax.config import SimulationConfig, Training
from fedtp_jax.core import rng
from fedtp_jax.core.client_names import called
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError
from fedtp_jax.engine.schedule import steps_of
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.simulation.clock import Clock
from fedtp_jax.simulation.cohorts import COHORTS, Cohort, Lottery, named_cohorts, once, trace_of

TIMED = 100  # rounds whose mean tells that of all


class Participants(NamedTuple):
    """Of one round.

    ids: [K] ascending, of the clients that return; steps: [K] local steps that each does, of whole [K];
    draws: [K] how often each was drawn, by which it weighs; drawn: how many clients were asked; seconds: that
    the round takes by the virtual clock, None without one.
    """

    ids: np.ndarray
    steps: np.ndarray
    draws: np.ndarray
    whole: np.ndarray
    drawn: int
    seconds: float | None = None

    @property
    def stragglers(self) -> int:
        """How many of those that return do less than all."""
        return int((self.steps < self.whole).sum())

    @property
    def share_done(self) -> float:
        """Mean share of its local steps that a client does; NaN where none returns."""
        return float((self.steps / self.whole).mean()) if len(self.ids) else math.nan


class Participation:
    """Draws the participants of any round.

    `clock`: says when they would return, in a simulation that asks for one.

    Attributes:
      clients: ids, ascending, of the clients that take part in the simulation: all but those held out.
      candidates: of these the ones that hold train examples.
      local_steps: [N] of each client in a round, if it does all.
      usual: clients of a cohort that is hardly ever exceeded, for which waves are planned.
      most: clients of the largest cohort that there can be.
      mean: clients of a cohort in the mean, if all are available and return.
    """

    def __init__(
        self,
        config: SimulationConfig,
        partition: Partition,
        names: Sequence[str] = (),
        clock: Clock | None = None,
    ) -> None:
        training, sizes = config.training, partition.train.sizes
        self._settings, self._size, self._seed = training.participation, training.cohort_size, config.seed
        self._counts = sizes if config.server.weighting == "examples" else np.ones_like(sizes)
        self.clients = np.setdiff1d(np.arange(partition.num_clients), held_out_clients(config, sizes))
        self.candidates = self.clients[sizes[self.clients] > 0]
        self.local_steps = local_steps(training, sizes)
        self._clock = clock
        self._available = trace_of(config, partition.num_clients, names)
        self._named = named_cohorts(config, partition.num_clients, names)
        if self._named is None:
            self._ask = math.ceil(round(self._size * self._settings.over_selection, 9))
            self._lottery = Lottery(self._settings, self._seed, self._ask, self.candidates, sizes)
            plain = self._settings.sampling == "without_replacement"  # of others none is too many
            self._takes = self._size if plain else len(self.candidates)
            self.usual = min(self._lottery.usual, self._takes)
            self.most = min(self._lottery.most, self._takes)
            self.mean = min(self._lottery.mean, self._takes)
            self._check()
            many = self._settings.sampling == "poisson"
            self._check_minimum(f"{self.most} clients there are" if many else f"cohort_size {self._size}")
        else:
            self._takes = self.usual = self.most = self._named.most
            self.mean = self._named.mean(training.rounds)
            self._check_named(names)
            self._check_minimum(f"{self.most} clients of the largest cohort")
        self._check_deadline()
        # a round asks twice, before and after it: a million candidates are drawn from once
        self._kept = functools.lru_cache(maxsize=8)(self._draw)

    def _check(self) -> None:
        """Raise UserError for a cohort that nobody can fill."""
        if self._ask > len(self.candidates):
            asked = f"{self._size}"
            if self._ask > self._size:
                asked += f" times participation.over_selection {self._settings.over_selection}"
            who = count_of(len(self.candidates), "client that holds", "clients that hold")
            raise UserError(
                f"training.cohort_size: {asked} is more than the {who} training examples; use at most "
                f"{len(self.candidates)}"
            )

    def _check_named(self, names: Sequence[str]) -> None:
        """Raise UserError for a client that is named for a cohort and cannot train."""
        assert self._named is not None
        for client in np.setdiff1d(self._named.everybody, self.candidates):
            held_out = client not in self.clients
            why = "is held out (training.held_out)" if held_out else "holds no train examples"
            raise UserError(f"{COHORTS}: client {called(int(client), names)} {why}; name others")

    def _check_minimum(self, what: str) -> None:
        """Raise UserError where even the largest cohort, which is called so, is too small."""
        if self._settings.minimum > self.most:
            raise UserError(
                f"training.participation.minimum: {self._settings.minimum} is more than the {what}, so every "
                f"round would be void; use at most {self.most}"
            )

    def _check_deadline(self) -> None:
        """Raise UserError for a deadline by which too few clients can ever return."""
        if self._clock is None or self._clock.deadline is None:
            return
        whole = self.local_steps[self.candidates]
        done, _ = self._clock.returns(self.candidates, whole, whole)
        if (in_time := int((done > 0).sum())) < self._settings.minimum:
            raise UserError(
                f"training.clock.deadline: {self._clock.deadline}, but {in_time} of {len(done)} clients can "
                f"return by then, so every round would be void (training.participation.minimum "
                f"{self._settings.minimum}); give them more time"
            )

    def participants(self, round: int) -> Participants:
        """Those of `round` (from 0): a function of the settings, the seed and the round alone."""
        return self._kept(round)

    def takes_place(self, round: int) -> bool:
        """Whether enough clients return to `round`."""
        return len(self.participants(round).ids) >= self._settings.minimum

    def mean_seconds(self, rounds: int) -> float | None:
        """Of a round by the virtual clock, over the first of so many; None without one."""
        if self._clock is None:
            return None
        timed = range(min(rounds, TIMED))
        return sum(self.participants(round).seconds or 0.0 for round in timed) / len(timed)

    def weights(self, clients: np.ndarray, cohort: np.ndarray) -> np.ndarray:
        """p_k of `clients` in a cohort of draws, in which one that was drawn m times stands m times."""
        ids, times = np.unique(cohort, return_counts=True)
        return times[np.searchsorted(ids, clients)] * self._counts[clients] / self._counts[cohort].sum()

    def _draw(self, round: int) -> Participants:
        asked, draws = self._asked(round)
        s, takes_part = self._settings, []
        for k, times in zip(asked, draws, strict=True):
            returns, share = 1.0, 1.0
            if s.dropout or s.stragglers:
                draw = rng.generator(self._seed, rng.Purpose.PARTICIPATION, round, int(k))
                returns, slow, share = draw.random(3)
                share = s.straggler_share + (1 - s.straggler_share) * share if slow < s.stragglers else 1.0
            if returns >= s.dropout:
                takes_part.append((int(k), share, int(times)))
        ids = np.array([k for k, _, _ in takes_part], np.int64)
        draws = np.array([times for _, _, times in takes_part], np.int64)
        shares, whole = np.array([share for _, share, _ in takes_part]), self.local_steps[ids]
        steps = np.ceil(shares * whole - 1e-9).astype(np.int64)  # so one at least
        # the less of its work a client does in the round's time, the later it would be done with all
        after = -(steps / whole)
        if self._clock:
            steps, after = self._clock.returns(ids, steps, whole)
            back = steps > 0
            ids, steps, draws, whole, after = (part[back] for part in (ids, steps, draws, whole, after))
        if len(ids) > self._takes:
            by_lot = rng.generator(self._seed, rng.Purpose.PARTICIPATION, round).permutation(len(ids))
            first = np.sort(by_lot[np.argsort(after[by_lot], kind="stable")[: self._takes]])
            ids, steps, draws, whole, after = (part[first] for part in (ids, steps, draws, whole, after))
        seconds = self._clock.lasts(after, min(len(asked), self._takes)) if self._clock else None
        return Participants(ids, steps, draws, whole, len(asked), seconds)

    def _asked(self, round: int) -> Cohort:
        """The clients that are asked: as many as there are, if too few are available."""
        there = self.candidates
        if self._available is not None:
            there = there[self._available.at(round)[there]]
        if self._named is not None:
            return once(np.intersect1d(self._named.named(round), there, assume_unique=True))
        return self._lottery.cohort(round, there)


def local_steps(training: Training, sizes: np.ndarray) -> np.ndarray:
    """[N] local steps of a round for shards of these sizes [N]."""
    if training.local_steps is not None:
        return np.full(len(sizes), training.local_steps)
    return np.asarray(training.local_epochs * steps_of(sizes, training.batch_size))


def held_out_clients(config: SimulationConfig, sizes: np.ndarray) -> np.ndarray:
    """Ids, ascending, of the clients that never train, drawn from those with train examples; sizes [N]."""
    count, clients = config.training.held_out, np.flatnonzero(sizes)
    if count >= len(clients):
        raise UserError(
            f"training.held_out: {count} of {len(clients)} clients would leave none to train; hold out fewer"
        )
    draw = rng.generator(config.seed, rng.Purpose.HELD_OUT)
    return np.sort(draw.choice(clients, count, replace=False))
