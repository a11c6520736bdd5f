"""A machine shared out between processes that run beside each other."""

import os

import numpy as np

from fedtp_jax.core import hosts


def child_environment(processes: int, devices: int = 1) -> dict[str, str]:
    """A child's share of a GPU's memory, where the user has said nothing; CPU devices as without the others.

    With as many devices, and threads, as a run that is alone it gives the same bits. `devices`: those that
    its configuration asks for, at least.
    """
    shares = {
        "JAX_NUM_CPU_DEVICES": str(max(hosts.cores(), devices)),
        "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.75 / processes:.3f}",
    }
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        del shares["JAX_NUM_CPU_DEVICES"]
    return {**shares, **os.environ}


def core_shares(processes: int) -> list[set[int]]:
    """The cores of this process dealt out, neighbours together; where there are too few some share one."""
    if hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))
    else:
        cores = [*range(os.cpu_count() or 1)]
    if processes > len(cores):
        return [{cores[k % len(cores)]} for k in range(processes)]
    return [{int(core) for core in part} for part in np.array_split(cores, processes)]
