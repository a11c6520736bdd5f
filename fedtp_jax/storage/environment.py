"""Versions, devices and machine, as they are noted beside a run."""

import os
import platform
from importlib import metadata
from typing import Any

import jax

PACKAGES = ("fedtp_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pandas")


def describe_environment() -> dict[str, Any]:
    """Versions, devices and machine: what a reader needs to judge or repeat a run."""
    devices = jax.devices()
    return {
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "backend": devices[0].platform,
        "devices": [device.device_kind for device in devices],
    }
