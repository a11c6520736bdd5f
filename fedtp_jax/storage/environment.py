"""Versions, devices and machine, as they are noted beside a run."""

import os
import platform
from importlib import metadata
from typing import Any, Literal

import jax

from fedtp_jax.core import hosts

PACKAGES = ("fedtp_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pandas")
SWITCHES = ("jax_default_prng_impl", "jax_threefry_partitionable", "jax_default_matmul_precision")
XLA_FLAGS = "XLA_FLAGS"


def jax_switches() -> dict[str, Any]:
    """JAX's global settings, and XLA's flags, on which random numbers or the last bits depend."""
    found = {name: getattr(jax.config, name) for name in SWITCHES if hasattr(jax.config, name)}
    flags = sorted(os.environ.get(XLA_FLAGS, "").split())
    return found | {XLA_FLAGS: " ".join(flag for flag in flags if "device_count" not in flag) or None}


def describe_environment(used: int | Literal["auto"] = "auto") -> dict[str, Any]:
    """Versions, machine and so many of its devices, by default all: what it takes to repeat a run."""
    devices = jax.devices()[: None if used == "auto" else used]
    return {
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "backend": devices[0].platform,
        "devices": [device.device_kind for device in devices],
    }


def machine(used: int | Literal["auto"]) -> dict[str, Any]:
    """What the order of sums may depend on: versions, backend, devices of the run, threads of a CPU."""
    environment = describe_environment(used)
    cpu = environment["backend"] == "cpu"
    return {
        **environment["versions"],
        "python": environment["python"],
        "backend": environment["backend"],
        "devices": len(environment["devices"]),
        # XLA's pool, for whose size it compiles
        **({"threads": max(hosts.cores(), len(jax.local_devices()))} if cpu else {}),
    }
