"""The federated methods by name; each is a record of pure functions (`base.Method`)."""

from collections.abc import Callable
from typing import Any

from fedtp_jax import config
from fedtp_jax.methods.base import Method, Task
from fedtp_jax.methods.fedavg import fedavg, fedprox
from fedtp_jax.methods.fedtp import fedtp
from fedtp_jax.methods.personal import local, personal

FACTORIES: dict[type, Callable[[Any, Task], Method]] = {
    config.FedAvg: fedavg,
    config.FedProx: fedprox,
    config.Local: local,
    config.FedPer: personal,
    config.Vanilla: personal,
    config.FedTP: fedtp,
}


def make_method(settings: object, task: Task) -> Method:
    """The method that `settings` (the configuration's method section) describes, for `task`."""
    return FACTORIES[type(settings)](settings, task)
