"""A cohort cut into waves that fit the devices, each prepared on the host while the one before it runs."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from fedtp_jax.core.jax_settings import in_our_settings
from fedtp_jax.engine.lanes import Facts
from fedtp_jax.engine.schedule import Batches, Layout, Tables, build_schedule


class Wave(NamedTuple):
    """What the devices are told of a wave: ids [D * C] and facts [D * C, ...] by slot.

    In a slot where nobody sits the id is N and the facts are 0.
    """

    tables: Tables
    ids: Any
    facts: Facts


class Prepared(NamedTuple):
    """A wave on the devices, and what the host knows of it.

    ids: [D * C] client ids by slot, N where nobody sits; examples: [D * C] that each client's local steps
    are of, which float32 on the devices would count to 2^24; clients: how many sit.
    """

    wave: Wave
    ids: np.ndarray
    examples: np.ndarray
    clients: int
    useful_steps: int
    executed_steps: int
    host_seconds: float


def prepare_wave(
    cohort: np.ndarray,
    batches: Sequence[Batches],
    facts: Facts,
    layout: Layout,
    num_clients: int,
    put: Callable[[Any], Any],
) -> Prepared:
    """The wave of `cohort` [K] with its local steps and facts [K, ...]; `put` brings it to the devices."""
    begin = time.perf_counter()
    schedule = build_schedule(batches, layout)
    sits = schedule.position >= 0
    ids = np.where(sits, cohort[schedule.position], num_clients).astype(np.int32)
    slot_facts = jax.tree.map(lambda fact: _by_slot(fact, schedule.position), facts)
    wave = put(Wave(schedule.tables, ids, slot_facts))
    trained = np.array([part.valid[part.prelude :].sum(dtype=np.int64) for part in batches])
    examples = _by_slot(trained, schedule.position)
    steps = schedule.useful_steps, schedule.executed_steps
    return Prepared(wave, ids, examples, len(cohort), *steps, time.perf_counter() - begin)


def _by_slot(values: np.ndarray, position: np.ndarray) -> np.ndarray:
    """[K, ...] values of clients -> [D * C, ...] by slot, 0 where nobody sits."""
    sits = (position >= 0).reshape(-1, *[1] * (values.ndim - 1))
    return np.where(sits, values[position], 0).astype(values.dtype)


class Prefetch:
    """Runs ahead on a thread: prepares the next waves, of this round or the next, while the devices work.

    Args:
      sources: for each round in order, an iterator of its waves.
      ahead: waves that may wait; they and the one at work are all that is on the devices.
    """

    def __init__(self, sources: Iterator[Iterator[Prepared]], ahead: int = 1) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(ahead)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(sources,), name="prefetch", daemon=True)
        self._thread.start()

    def _fill(self, sources: Iterator[Iterator[Prepared]]) -> None:
        try:
            with in_our_settings():  # they are a thread's own
                self._prepare(sources)
        except BaseException as error:  # it is raised where the wave is taken
            self._offer(error)

    def _prepare(self, sources: Iterator[Iterator[Prepared]]) -> None:
        for source in sources:
            for wave in source:
                if not self._offer(wave):
                    return
            if not self._offer(None):
                return

    def _offer(self, item: Any) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def take(self) -> Iterator[Prepared]:
        """The next round's waves, each given as soon as it is ready."""
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join()
