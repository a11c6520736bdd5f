"""FedProx: federated averaging with a proximal term.

Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith: Federated Optimization in Heterogeneous Networks. MLSys 2020,
arXiv 1812.06127, equation (2).
"""

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch, Row
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.roles import role_method
from fedtp_jax.learning.task import Output, Task


def fedprox(settings: config.FedProx, task: Task) -> Method:
    """FedAvg whose clients minimise loss(w) + mu / 2 * |w - w_round|^2."""

    def objective(
        task: Task, output: Output, leaves: Leaves, shared: Leaves, row: Row, batch: Batch
    ) -> jax.Array:
        parameters = [path for path in shared if path.startswith("params/")]
        distance = sum(jnp.sum((leaves[p] - shared[p]) ** 2) for p in parameters)
        return task.loss(output.logits, batch) + settings.mu / 2 * distance

    return role_method(task, [("shared", (".",))], objective=objective)
