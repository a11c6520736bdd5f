"""Cohorts: whom the server asks in a round, drawn by lot, or named round by round or in a trace."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fedtp_jax.config import Participation, SimulationConfig
from fedtp_jax.core import rng
from fedtp_jax.core.client_names import by_name, called, number_of
from fedtp_jax.core.errors import UserError, user_path
from fedtp_jax.engine.schedule import sample_cohort
from fedtp_jax.simulation.trace_file import number_in_cell, trace_lines

FOREVER = 2**31  # no run has so many rounds
COLUMNS = ["client", "first_round", "last_round"]
COHORTS, TRACE = "training.participation.cohorts", "training.participation.trace"


class Cohort(NamedTuple):
    """ids: [K] ascending; draws: [K] how often each was drawn."""

    ids: np.ndarray
    draws: np.ndarray


def once(ids: np.ndarray) -> Cohort:
    """A cohort in which everybody is once."""
    return Cohort(ids, np.ones(len(ids), np.int64))


class Lottery(NamedTuple):
    """Draws of about `size` clients among `candidates`, ascending ids; `sizes` [N]: everybody's examples."""

    settings: Participation
    seed: int
    size: int
    candidates: np.ndarray
    sizes: np.ndarray

    def cohort(self, round: int, there: np.ndarray) -> Cohort:
        """Of those of the candidates that are `there`; a function of the seed and the round alone."""
        sampling = self.settings.sampling
        if sampling == "without_replacement":
            return once(sample_cohort(self.seed, round, there, min(self.size, len(there))))
        draw = rng.generator(self.seed, rng.Purpose.COHORT, round)
        if sampling == "poisson":  # a coin of each candidate, whoever else is there
            heads = self.candidates[draw.random(len(self.candidates)) < self.size / len(self.candidates)]
            return once(np.intersect1d(heads, there, assume_unique=True))
        if not len(there):
            return once(there)
        chances = self.sizes[there] / self.sizes[there].sum() if sampling == "by_examples" else None
        return Cohort(*np.unique(draw.choice(there, self.size, p=chances), return_counts=True))

    @property
    def mean(self) -> float:
        """Clients of a cohort in the mean, if all candidates are there."""
        if self.settings.sampling in ("without_replacement", "poisson"):
            return self.size
        sizes = self.sizes[self.candidates]
        even = np.full(len(sizes), 1 / len(sizes))
        chances = sizes / sizes.sum() if self.settings.sampling == "by_examples" else even
        return float((1 - (1 - chances) ** self.size).sum())

    @property
    def most(self) -> int:
        """Clients of the largest cohort that there can be."""
        return len(self.candidates) if self.settings.sampling == "poisson" else self.size

    @property
    def usual(self) -> int:
        """So many that a cohort is hardly ever larger: three standard deviations above the mean."""
        spread = 3 * self.size**0.5 if self.settings.sampling == "poisson" else 0
        return min(self.most, int(np.ceil(self.size + spread)))


class Lists(NamedTuple):
    """Cohorts that are listed, each ascending ids; after the last comes the first again."""

    lists: tuple[np.ndarray, ...]

    def named(self, round: int) -> np.ndarray:
        """Ids, ascending, of the clients of `round`."""
        return self.lists[round % len(self.lists)]

    @property
    def everybody(self) -> np.ndarray:
        """Ids of all that are ever named."""
        return np.unique(np.concatenate(self.lists))

    def mean(self, rounds: int) -> float:
        """Clients of a round in the mean."""
        return sum(len(self.named(round)) for round in range(rounds)) / rounds

    @property
    def most(self) -> int:
        """Clients of the largest round."""
        return max(map(len, self.lists))


class Trace(NamedTuple):
    """[I] clients, and the first and last round (from 0) of an interval in which each is there."""

    clients: np.ndarray
    first: np.ndarray
    last: np.ndarray
    num_clients: int

    def at(self, round: int) -> np.ndarray:
        """[N] who is available in `round`: clients that the trace does not name always are."""
        available = np.ones(self.num_clients, bool)
        available[self.clients] = False
        available[self.named(round)] = True
        return available

    def named(self, round: int) -> np.ndarray:
        """Ids, ascending, of the clients with an interval in which `round` is."""
        return np.unique(self.clients[(self.first <= round) & (round <= self.last)])

    @property
    def everybody(self) -> np.ndarray:
        """Ids of all that are ever named."""
        return np.unique(self.clients)

    def mean(self, rounds: int) -> float:
        """Clients of a round in the mean, where no client's intervals overlap."""
        return float((np.minimum(self.last + 1, rounds) - self.first).clip(min=0).sum()) / rounds

    @property
    def most(self) -> int:
        """Clients of the largest round, or a few more where a client's intervals overlap."""
        begins, ends = np.sort(self.first), np.sort(self.last)
        there = np.arange(1, len(begins) + 1) - np.searchsorted(ends, begins, "left")
        return min(int(there.max()), len(self.everybody))


def trace_of(config: SimulationConfig, num_clients: int, names: Sequence[str]) -> Trace | None:
    """When each client is available, or None without a file that says so."""
    path = config.training.participation.trace
    return read_trace(TRACE, user_path(path), num_clients, names) if path else None


def named_cohorts(config: SimulationConfig, num_clients: int, names: Sequence[str]) -> Lists | Trace | None:
    """The cohorts that the settings name, or None where they are drawn; `names` [N] of clients, or none."""
    cohorts = config.training.participation.cohorts
    if cohorts is None:
        return None
    if isinstance(cohorts, str):
        trace = read_trace(COHORTS, user_path(cohorts), num_clients, names)
        if not len(trace.clients):
            raise UserError(f"{COHORTS}: {cohorts} names no client; give a line for each that takes part")
        return trace
    known, lists = by_name(names), []
    for round, cohort in enumerate(cohorts):
        where = f"{COHORTS}, round {round + 1}"
        listed = [number_of(client, known, num_clients, where) for client in cohort]
        ids, times = np.unique(np.array(listed, np.int64), return_counts=True)
        if len(ids) < len(listed):
            twice = called(int(ids[times.argmax()]), names)
            raise UserError(f"{where}: client {twice} is there {times.max()} times; name it once")
        lists.append(ids)
    return Lists(tuple(lists))


def read_trace(field: str, path: Path, num_clients: int, names: Sequence[str] = ()) -> Trace:
    """A CSV file with the columns client, first_round, last_round (rounds from 1, both included).

    A client, which may have several lines, is given by number or by name. Raises UserError for a file that is
    missing or holds anything else.
    """
    known, intervals = by_name(names), []
    for where, row in trace_lines(field, path, COLUMNS):
        who = number_in_cell(row[0], known, num_clients, where)
        try:
            client, first, last = map(int, [who, *row[1:]])
        except ValueError:
            raise UserError(f"{where}: got {','.join(row)[:80]!r}, expected three whole numbers") from None
        if not 0 <= client < num_clients or not 1 <= first <= last:
            raise UserError(
                f"{where}: client {client} from round {first} to {last}; expected a "
                f"client from 0 to {num_clients - 1} and rounds from 1 up, the last not before the first"
            )
        intervals.append((client, min(first, FOREVER) - 1, min(last, FOREVER) - 1))
    columns = np.array(intervals, np.int64).reshape(-1, 3).T
    return Trace(columns[0], columns[1], columns[2], num_clients)
