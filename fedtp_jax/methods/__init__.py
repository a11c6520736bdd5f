"""The federated methods by name; each is a record of pure functions (`Method`)."""

from collections.abc import Callable
from typing import Any

from fedtp_jax import config
from fedtp_jax.core.errors import UserError
from fedtp_jax.engine.lanes import Batch, ClientWork, Facts, Row
from fedtp_jax.engine.prelude import Prelude
from fedtp_jax.learning.local_training import LocalTraining, local_training
from fedtp_jax.learning.method import Counted, Description, Kept, Method, Mix, Received, State, Upload
from fedtp_jax.learning.roles import role_method
from fedtp_jax.learning.task import Output, Task
from fedtp_jax.methods.apfl import apfl
from fedtp_jax.methods.ditto import ditto
from fedtp_jax.methods.fedala import fedala
from fedtp_jax.methods.fedamp import fedamp
from fedtp_jax.methods.fedavg import fedavg
from fedtp_jax.methods.fedbabu import fedbabu
from fedtp_jax.methods.fedbn import fedbn
from fedtp_jax.methods.fedpac import fedpac
from fedtp_jax.methods.fedper import fedper
from fedtp_jax.methods.fedperfix import fedperfix
from fedtp_jax.methods.fedproto import fedproto
from fedtp_jax.methods.fedprox import fedprox
from fedtp_jax.methods.fedrep import fedrep
from fedtp_jax.methods.fedrod import fedrod, fedtp_rod
from fedtp_jax.methods.fedtp import fedtp
from fedtp_jax.methods.fedtp_prior import fedtp_prior
from fedtp_jax.methods.lg_fedavg import lg_fedavg
from fedtp_jax.methods.local import local
from fedtp_jax.methods.pefll import pefll
from fedtp_jax.methods.perfedavg import perfedavg
from fedtp_jax.methods.pfedhn import pfedhn
from fedtp_jax.methods.pfedme import pfedme
from fedtp_jax.methods.scaffold import scaffold
from fedtp_jax.methods.vanilla import vanilla

__all__ = [
    "Batch",
    "ClientWork",
    "Counted",
    "Description",
    "Facts",
    "Kept",
    "LocalTraining",
    "Method",
    "Mix",
    "Output",
    "Prelude",
    "Received",
    "Row",
    "State",
    "Task",
    "Upload",
    "local_training",
    "make_method",
    "role_method",
]

FACTORIES: dict[type, Callable[[Any, Task], Method]] = {
    config.FedAvg: fedavg,
    config.FedProx: fedprox,
    config.Local: local,
    config.FedPer: fedper,
    config.FedPerfix: fedperfix,
    config.LGFedAvg: lg_fedavg,
    config.FedRep: fedrep,
    config.FedBABU: fedbabu,
    config.FedBN: fedbn,
    config.Vanilla: vanilla,
    config.FedRod: fedrod,
    config.FedProto: fedproto,
    config.PFedMe: pfedme,
    config.Scaffold: scaffold,
    config.APFL: apfl,
    config.PerFedAvg: perfedavg,
    config.Ditto: ditto,
    config.FedALA: fedala,
    config.FedAMP: fedamp,
    config.FedPAC: fedpac,
    config.PFedHN: pfedhn,
    config.FedTP: fedtp,
    config.PeFLL: pefll,
    config.FedTPPer: fedtp,
    config.FedTPRod: fedtp_rod,
    config.FedTPPrior: fedtp_prior,
}


def make_method(settings: object, task: Task) -> Method:
    """The method that `settings` (the configuration's method section) describes, for `task`."""
    if isinstance(settings, config.Own):
        return _own(settings, task)
    return FACTORIES[type(settings)](settings, task)


def _own(part: config.Own, task: Task) -> Method:
    """What the user's function task -> Method gives."""
    method = part.call("method", task)
    if not isinstance(method, Method):
        raise UserError(
            f"method: {part.of} returned a {type(method).__name__}, expected a Method; give a function that "
            "takes a task and returns what role_method(task, rules) does"
        )
    return method
