"""A crew of processes on this machine, each with its share of the CPU cores."""

import contextlib
import os
from collections.abc import Sequence

from fedtp_jax.sweeps.child import Child, Ended
from fedtp_jax.sweeps.combinations import Combination
from fedtp_jax.sweeps.core_shares import child_environment, core_shares
from fedtp_jax.sweeps.crew import Crew, Worker, devices_of


def crew_here(combinations: Sequence[Combination], processes: int) -> "Here | None":
    """So many processes, or fewer where fewer combinations are left; None: no process beside this one."""
    left = sum(bool(combination.left) for combination in combinations)
    return None if processes == 1 else Here(max(1, min(processes, left)))


class Here(Crew):
    """So many processes at once."""

    stays, pause = False, 0.1

    def __init__(self, processes: int) -> None:
        self._shares = core_shares(processes)
        self._free = [*range(processes)]

    def room(self, running: int) -> int:
        return len(self._free)

    def start(self, combinations: Sequence[Combination]) -> list[Worker]:
        return [_Process(combination, self._free.pop(0), self) for combination in combinations]

    def cores(self, slot: int) -> set[int]:
        return self._shares[slot]

    @property
    def processes(self) -> int:
        return len(self._shares)

    def give_back(self, slot: int) -> None:
        self._free.append(slot)


class _Process:
    def __init__(self, combination: Combination, slot: int, crew: Here) -> None:
        self._slot, self._crew = slot, crew
        environment = child_environment(crew.processes, devices_of(combination))
        self._child = Child(combination.folder, environment)
        if hasattr(os, "sched_setaffinity"):  # XLA sizes its pool of threads by it
            with contextlib.suppress(OSError):  # it has ended already, or may not be told
                os.sched_setaffinity(self._child.process.pid, crew.cores(slot))

    def ended(self) -> Ended | None:
        found = self._child.ended()
        if found is not None:
            self._crew.give_back(self._slot)
        return found

    def stop(self) -> None:
        self._child.stop()
