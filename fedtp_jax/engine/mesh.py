"""The devices of a run as a one-dimensional mesh; one device is a mesh of one."""

import warnings
from typing import Literal

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from fedtp_jax.core import hosts
from fedtp_jax.core.errors import UserError

AXIS = "clients"


Devices = int | Literal["auto"]


def open_mesh(devices: Devices, before: Devices = "auto") -> Mesh:
    """A mesh of as many devices as `decide_devices` says; one device is a mesh of one."""
    return make_mesh(decide_devices(devices, before))


def decide_devices(asked: Devices, before: Devices = "auto") -> int:
    """How many devices a run has: the one place where that is decided.

    auto: as many as it had `before`, or else all that JAX sees, of all processes. A CPU is one for each core
    that the process may use, unless JAX was told another number or had started already. A warning says where
    that makes fewer than the cores, or others than before, and how to get them.

    Raises UserError for a number that is asked for and is not there.
    """
    wish = before if asked == "auto" else asked
    hosts.split_cpu(1 if wish == "auto" else wish)
    hosts.check_devices()
    available, kept = len(jax.devices()), asked in ("auto", before)
    if not kept and asked != available and hosts.count() > 1:
        raise UserError(
            f"engine.devices: got {asked}, but all {available} of the {hosts.count()} processes take part; "
            "use auto"
        )
    if not kept and wish != "auto" and wish > available:
        raise UserError(
            f"engine.devices: got {wish}, but JAX sees {available}; use at most {available}, or auto"
            + _how_to_get(wish, ", or ")
        )
    devices = available if wish == "auto" or hosts.count() > 1 else min(wish, available)
    if before != "auto":
        _warn_of_other(f"{before} before", before, devices)
    elif wish == "auto" and jax.default_backend() == "cpu" and not hosts.cpu_is_chosen():
        _warn_of_other(f"{hosts.cores()} if nothing had used JAX yet", hosts.cores(), devices)
    return devices


def _warn_of_other(which: str, wanted: int, devices: int) -> None:
    if devices == wanted:
        return
    how = _how_to_get(wanted, "; to have as many: ") if devices < wanted else ""
    warnings.warn(
        f"engine.devices: {devices} here, {which}: sums are made in another order, so after some rounds "
        f"figures differ (docs/resume.md says by how much){how}",
        stacklevel=5,
    )


def _how_to_get(devices: int, link: str) -> str:
    if jax.default_backend() != "cpu":
        return ""
    return (
        f"{link}start Python anew and let fedtp_jax be the first to use JAX, or set "
        f"JAX_NUM_CPU_DEVICES={devices} before"
    )


def make_mesh(devices: int) -> Mesh:
    """A mesh of the first `devices` devices of the running backend."""
    # jax.make_mesh would arrange them along a TPU's links, and refuses a number that is no slice of it.
    return Mesh(np.array(jax.devices()[:devices]), (AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, P())


def per_device(mesh: Mesh) -> NamedSharding:
    """Leading axis split over the devices."""
    return NamedSharding(mesh, P(AXIS))
