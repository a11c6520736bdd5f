"""Who takes part in a round, and with how many local steps: cohort, availability, dropout, stragglers.

All of it is drawn on the host before the round: to the engine it is only a schedule.
"""

import csv
import functools
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fedtp_jax.config import SimulationConfig, Training
from fedtp_jax.core import rng
from fedtp_jax.core.errors import UserError, in_one_line, user_path
from fedtp_jax.engine.schedule import sample_cohort, steps_of
from fedtp_jax.partitions.partition import Partition

FOREVER = 2**31  # no run has so many rounds
COLUMNS = ["client", "first_round", "last_round"]


class Participants(NamedTuple):
    """Of one round.

    ids: [K] ascending, of the clients that return; steps: [K] local steps that each does, of whole [K];
    drawn: how many were asked.
    """

    ids: np.ndarray
    steps: np.ndarray
    whole: np.ndarray
    drawn: int

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

    Attributes:
      clients: ids, ascending, of the clients that take part in the simulation: all but those held out.
      candidates: of these the ones that hold train examples.
      local_steps: [N] of each client in a round, if it does all.
    """

    def __init__(self, config: SimulationConfig, partition: Partition) -> None:
        training, sizes = config.training, partition.train.sizes
        self._settings, self._size, self._seed = training.participation, training.cohort_size, config.seed
        self._ask = math.ceil(round(self._size * self._settings.over_selection, 9))
        self.clients = np.setdiff1d(np.arange(partition.num_clients), held_out_clients(config, sizes))
        self.candidates = self.clients[sizes[self.clients] > 0]
        self.local_steps = local_steps(training, sizes)
        self._check()
        self._available = trace_of(config, partition)
        # a round asks twice, before and after it: a million candidates are drawn from once
        self._kept = functools.lru_cache(maxsize=8)(self._draw)

    def _check(self) -> None:
        """Raise UserError for a cohort that nobody can fill."""
        if self._ask > len(self.candidates):
            asked = f"{self._size}"
            if self._ask > self._size:
                asked += f" times participation.over_selection {self._settings.over_selection}"
            raise UserError(
                f"training.cohort_size: {asked} is more than the {len(self.candidates)} clients that hold "
                f"training examples; use at most {len(self.candidates)}"
            )
        if self._settings.minimum > self._size:
            raise UserError(
                f"training.participation.minimum: {self._settings.minimum} is more than the cohort_size "
                f"{self._size}, so every round would be void; use at most {self._size}"
            )

    def participants(self, round: int) -> Participants:
        """Those of `round` (from 0): a function of the settings, the seed and the round alone."""
        return self._kept(round)

    def _draw(self, round: int) -> Participants:
        asked = self._drawn(round)
        s, takes_part = self._settings, []
        for k in asked:
            returns, share = 1.0, 1.0
            if s.dropout or s.stragglers:
                draw = rng.generator(self._seed, rng.Purpose.PARTICIPATION, round, int(k))
                returns, slow, share = draw.random(3)
                share = s.straggler_share + (1 - s.straggler_share) * share if slow < s.stragglers else 1.0
            if returns >= s.dropout:
                takes_part.append((int(k), share))
        ids = np.array([k for k, _ in takes_part], np.int64)
        shares, whole = np.array([share for _, share in takes_part]), self.local_steps[ids]
        steps = np.ceil(shares * whole - 1e-9).astype(np.int64)  # so one at least
        if len(ids) > self._size:
            # the less of its work a client does in the round's time, the later it would be done with all
            by_lot = rng.generator(self._seed, rng.Purpose.PARTICIPATION, round).permutation(len(ids))
            late = np.argsort(-(steps / whole)[by_lot], kind="stable")
            first = np.sort(by_lot[late[: self._size]])
            ids, steps, whole = ids[first], steps[first], whole[first]
        return Participants(ids, steps, whole, len(asked))

    def _drawn(self, round: int) -> np.ndarray:
        """Ids, ascending, of the clients that are asked: as many as there are, if too few are available."""
        there = self.candidates
        if self._available is not None:
            there = there[self._available.at(round)[there]]
        return sample_cohort(self._seed, round, there, min(self._ask, len(there)))


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


class Trace(NamedTuple):
    """[I] clients, and the first and last round (from 0) of an interval in which each is available."""

    clients: np.ndarray
    first: np.ndarray
    last: np.ndarray
    num_clients: int

    def at(self, round: int) -> np.ndarray:
        """[N] who is available in `round`: clients that the trace does not name always are."""
        available = np.ones(self.num_clients, bool)
        available[self.clients] = False
        available[self.clients[(self.first <= round) & (round <= self.last)]] = True
        return available


def trace_of(config: SimulationConfig, partition: Partition) -> Trace | None:
    """When each client is available, or None without a file that says so."""
    path = config.training.participation.trace
    return read_trace(user_path(path), partition.num_clients) if path else None


def read_trace(path: Path, num_clients: int) -> Trace:
    """A CSV file with the columns client, first_round, last_round (rounds from 1, both included).

    A client may have several lines. Raises UserError for a file that is missing or holds anything else.
    """
    field = "training.participation.trace"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # Excel begins its files with a mark
            rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{field}: {path} cannot be read ({in_one_line(error)}); give a CSV file") from None
    if not rows or rows[0] != COLUMNS:
        head = ",".join(rows[0]) if rows else "nothing"
        raise UserError(f"{field}: {path} begins with {head[:80]!r}, expected {','.join(COLUMNS)}")
    intervals = []
    for number, row in enumerate(rows[1:], start=2):
        if not any(row):
            continue
        try:
            client, first, last = map(int, row)
        except ValueError:
            raise UserError(
                f"{field}: {path}, line {number}: got {','.join(row)[:80]!r}, expected three whole numbers"
            ) from None
        if not 0 <= client < num_clients or not 1 <= first <= last:
            raise UserError(
                f"{field}: {path}, line {number}: client {client} from round {first} to {last}; expected a "
                f"client from 0 to {num_clients - 1} and rounds from 1 up, the last not before the first"
            )
        intervals.append((client, min(first, FOREVER) - 1, min(last, FOREVER) - 1))
    columns = np.array(intervals, np.int64).reshape(-1, 3).T
    return Trace(columns[0], columns[1], columns[2], num_clients)
