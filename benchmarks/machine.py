"""What a reader needs to judge a benchmark's figures: the machine and the versions."""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from fedtp_jax.storage.environment import describe_environment

CPUINFO = Path("/proc/cpuinfo")


def describe_machine() -> dict[str, Any]:
    """Versions (PyTorch's if loaded), devices, processor, cores this process may use, memory in GiB."""
    environment = describe_environment()
    if "torch" in sys.modules:
        environment["versions"]["torch"] = metadata.version("torch")
    return {**environment, "cpu": _processor(), "cores": len(cores()), "memory_gib": _memory()}


def cores() -> list[int]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def in_words(machine: dict[str, Any]) -> str:
    """One line of `describe_machine`."""
    accelerators = [kind for kind in machine["devices"] if machine["backend"] != "cpu"]
    cores = f"{machine['cores']} core{'s' * (machine['cores'] > 1)}"
    hardware = [f"{machine['cpu']}, {cores}, {machine['memory_gib']} GiB"]
    hardware += [f"{accelerators.count(kind)} x {kind}" for kind in sorted(set(accelerators))]
    shown = ("jax", "jaxlib", "flax", "torch")
    versions = [f"{name} {machine['versions'][name]}" for name in shown if name in machine["versions"]]
    return ", ".join([*hardware, f"Python {machine['python']}", *versions])


def _processor() -> str:
    if CPUINFO.exists():
        for line in CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory() -> float:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
