"""A cohort cut into waves that fit the devices, and their schedules put where the engine reads them."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

import jax
import numpy as np
from jax.sharding import NamedSharding

from fedtp_jax.engine import Facts
from fedtp_jax.schedule import Batches, Layout, Tables, build_schedule


class Wave(NamedTuple):
    """A wave on the devices: ids [D * C] and facts [D * C, ...] by slot; an empty one has id N, facts 0."""

    tables: Tables
    ids: jax.Array
    facts: Facts


class Prepared(NamedTuple):
    """A cohort's waves and what the host knows of them.

    ids: per wave [D * C] client ids by slot, N where nobody sits.
    """

    waves: list[Wave]
    ids: list[np.ndarray]
    clients: int
    useful_steps: int
    executed_steps: int
    host_seconds: float


def prepare_waves(
    cohort: np.ndarray,
    batches: list[Batches],
    facts: Facts,
    layout: Layout,
    wave_size: int,
    num_clients: int,
    sharding: NamedSharding,
) -> Prepared:
    """Waves of at most `wave_size` clients of `cohort` [K], with their local steps and facts [K, ...]."""
    begin = time.perf_counter()
    waves, ids, useful, executed = [], [], 0, 0
    for first in range(0, len(cohort), wave_size):
        part = slice(first, first + wave_size)
        schedule = build_schedule(batches[part], layout)
        sits = schedule.position >= 0
        slot_ids = np.where(sits, cohort[part][schedule.position], num_clients).astype(np.int32)
        slot_facts = jax.tree.map(lambda fact, s=schedule, p=part: _by_slot(fact[p], s.position), facts)
        waves.append(Wave(*jax.device_put((schedule.tables, slot_ids, slot_facts), sharding)))
        ids.append(slot_ids)
        useful += schedule.useful_steps
        executed += schedule.executed_steps
    return Prepared(waves, ids, len(cohort), useful, executed, time.perf_counter() - begin)


def _by_slot(values: np.ndarray, position: np.ndarray) -> np.ndarray:
    """[K, ...] values of clients -> [D * C, ...] by slot, 0 where nobody sits."""
    sits = (position >= 0).reshape(-1, *[1] * (values.ndim - 1))
    return np.where(sits, values[position], 0).astype(values.dtype)


class Preparer(Protocol):
    """Whatever can prepare a round."""

    def prepare(self, round: int) -> Prepared: ...


class Prefetch:
    """Prepares the next round on a thread while the devices work on this one."""

    def __init__(self, preparer: Preparer, rounds: range) -> None:
        self._preparer, self._rounds = preparer, iter(rounds)
        self._pool = ThreadPoolExecutor(1, "fedtp-prefetch")
        self._next = self._start()

    def take(self) -> Prepared:
        """The next round's waves; starts on those of the following one."""
        assert self._next is not None, "all rounds were taken"
        prepared = self._next.result()
        self._next = self._start()
        return prepared

    def _start(self) -> Future[Prepared] | None:
        round = next(self._rounds, None)
        return None if round is None else self._pool.submit(self._preparer.prepare, round)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
