"""Speed-up from one device to all of them, with clients of equal and of unequal size.

On CPU a device is a core: every number of devices is measured by a process of its own, which is held to that
many cores. With accelerators it is a mesh of that many in this process.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.machine import cores
from benchmarks.pictures import grouped_bars, panels
from benchmarks.results import Outcome
from benchmarks.timing import seconds_of, take_turns
from benchmarks.workloads import SMALL_VIT, RepeatedRound, dirichlet_64, even_clients

REPEATS = 5
EVEN, RAGGED = "equal sizes", "Dirichlet(0.3) sizes"
DESCRIPTION = f"""\
One FedAvg round of 64 clients with 16,000 random 28x28 images, the 72,000-parameter ViT, batch 32, dropout 0.1, on more and more devices; examples/s and speed-up over one device; medians over {REPEATS} rounds that alternate between the numbers of devices, so that a busy machine hurts all alike. On CPU a device is a core: n devices are a process that may use n cores, with n XLA devices. "1, on all cores" is a single device whose every operation XLA spreads over all cores.
"""


class Setup(NamedTuple):
    """So many devices, on CPU of a process that may use so many cores."""

    name: str
    devices: int
    cores: int


def measure(out: Path) -> Outcome:
    """About 2 minutes on 2 cores."""
    with ExitStack() as children:
        table = pd.DataFrame(_rows(_cases(children)))
    return Outcome(DESCRIPTION, {"Speed by devices": table}, _picture(table))


def powers_up_to(most: int) -> list[int]:
    """1, 2, 4, ... and `most` itself."""
    return sorted({most, *(2**n for n in range(most.bit_length()) if 2**n <= most)})


def workload(name: str, devices: int) -> RepeatedRound:
    """The round called EVEN or RAGGED on the first `devices` devices."""
    settings, data = even_clients(SMALL_VIT, 64, 250, batch=32) if name == EVEN else dirichlet_64()
    return RepeatedRound(settings, data, devices)


# ------------------------------------------------------------------------------------------------- cases


def _cases(children: ExitStack) -> dict[tuple[str, str], Callable[[], object]]:
    """{(workload, setup): its round}; the processes end with `children`."""
    if _has_accelerators():
        import jax

        counts = powers_up_to(len(jax.devices()))
        return {(name, str(n)): workload(name, n) for name in (EVEN, RAGGED) for n in counts}
    all_cores = len(cores())
    setups = [Setup(str(n), n, n) for n in powers_up_to(all_cores)]
    if all_cores > 1:
        setups.append(Setup("1, on all cores", 1, all_cores))
    return {
        (name, setup.name): children.enter_context(_Child(name, setup))
        for name in (EVEN, RAGGED)
        for setup in setups
    }
