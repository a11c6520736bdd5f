"""The devices of a run as a one-dimensional mesh; one device is a mesh of one."""

from typing import Literal

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from fedtp_jax.core import hosts
from fedtp_jax.core.errors import UserError

AXIS = "clients"


def open_mesh(devices: int | Literal["auto"]) -> Mesh:
    """A mesh of the first `devices` devices, by default of all; one device is a mesh of one.

    With several processes it is of all devices of all of them.
    """
    hosts.split_cpu()
    hosts.check_devices()
    available = len(jax.devices())
    if devices != "auto" and devices > available:
        raise UserError(
            f"engine.devices: got {devices}, but JAX sees {available}; use at most {available}, or auto"
        )
    if devices not in ("auto", available) and hosts.count() > 1:
        raise UserError(
            f"engine.devices: got {devices}, but all {available} of the {hosts.count()} processes take part; "
            "use auto"
        )
    return make_mesh(available if devices == "auto" else devices)


def make_mesh(devices: int) -> Mesh:
    """A mesh of the first `devices` devices of the running backend."""
    # jax.make_mesh would arrange them along a TPU's links, and refuses a number that is no slice of it.
    return Mesh(np.array(jax.devices()[:devices]), (AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, P())


def per_device(mesh: Mesh) -> NamedSharding:
    """Leading axis split over the devices."""
    return NamedSharding(mesh, P(AXIS))
