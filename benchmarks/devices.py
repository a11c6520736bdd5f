"""Speed-up from one device to all of them, with clients of equal and of unequal size.

On CPU a device is a core: every number of devices is measured by a process of its own, which is held to that
many cores. With accelerators it is a mesh of that many in this process.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.machine import cores
from benchmarks.pictures import grouped_bars, panels
from benchmarks.results import Outcome
from benchmarks.timing import take_turns
from benchmarks.workloads import SMALL_VIT, RepeatedRound, dirichlet_64, even_clients
from fedtp_jax.engine.mesh import open_mesh

REPEATS = 5
EVEN, RAGGED = "equal sizes", "Dirichlet(0.3) sizes"
DESCRIPTION = f"""\
One FedAvg round of 64 clients with 16,000 random 28x28 images, the 72,000-parameter ViT, batch 32, dropout
0.1, on more and more devices; examples/s and speed-up over one device; medians over {REPEATS} rounds that
alternate between the numbers of devices, so that a busy machine hurts all alike. On CPU a device is a core:
n devices are a process that may use n cores, with n XLA devices. "1, on all cores" is a single device whose
every operation XLA spreads over all cores.
"""


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


class Case(Protocol):
    """A round to be repeated; `examples` that it trains on are known after the first call."""

    examples: int

    def __call__(self) -> None: ...


def _cases(children: ExitStack) -> dict[tuple[str, str], Case]:
    """{(workload, devices): its round}; the processes end with `children`."""
    mesh = open_mesh("auto")
    if mesh.devices.flat[0].platform != "cpu":
        return {
            (name, str(devices)): workload(name, devices)
            for name in (EVEN, RAGGED)
            for devices in powers_up_to(mesh.size)
        }
    available = cores()
    setups = {str(n): (n, available[:n]) for n in powers_up_to(len(available))}
    if len(available) > 1:
        setups["1, on all cores"] = 1, available
    return {
        (name, setup): children.enter_context(_Child(name, *setups[setup]))
        for name in (EVEN, RAGGED)
        for setup in setups
    }


class _Child:
    """A round in a process of so many CPU devices, held to the cores `allowed`; its first call starts it."""

    def __init__(self, name: str, devices: int, allowed: list[int]) -> None:
        self.examples = 0
        self._name, self._devices, self._allowed = name, str(devices), allowed
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "_Child":
        return self

    def __exit__(self, *error: object) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()

    def __call__(self) -> None:
        if self._process is None:
            self._process = self._start()
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.examples = int(self._process.stdout.readline())

    def _start(self) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "benchmarks.devices", self._name, self._devices]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": self._devices}
        with held_to(self._allowed):  # a process starts with the cores of its parent
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )


@contextmanager
def held_to(allowed: list[int]) -> Iterator[None]:
    """This thread, and what it starts, on these cores alone, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, allowed)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _serve(name: str, devices: str) -> None:
    """The process of a _Child: a round for every line that comes."""
    round = workload(name, int(devices))
    for _ in sys.stdin:
        round()
        print(round.examples, flush=True)


# ----------------------------------------------------------------------------------------- table, picture


def _rows(cases: dict[tuple[str, str], Case]) -> list[dict[str, object]]:
    seconds = take_turns(cases, REPEATS)
    return [
        {
            "clients": name,
            "devices": devices,
            "seconds": round(median, 3),
            "examples/s": round(cases[name, devices].examples / median),
            "speed-up": round(seconds[name, "1"] / median, 2),
        }
        for (name, devices), median in seconds.items()
    ]


def _picture(table: pd.DataFrame) -> Figure:
    figure, (axes,) = panels(1, width=7, height=3.8)
    devices = table["devices"].unique().tolist()
    groups = {name: table[table["clients"] == name]["speed-up"].tolist() for name in (EVEN, RAGGED)}
    grouped_bars(axes, "64 clients, small ViT", devices, groups, "speed-up over one device")
    axes.set_xlabel("devices")
    return figure


if __name__ == "__main__":
    _serve(*sys.argv[1:])
