"""Federated averaging and its proximal form: every leaf is shared.

McMahan, Moore, Ramage, Hampson, Agueera y Arcas: Communication-Efficient Learning of Deep Networks from
Decentralized Data. AISTATS 2017, arXiv 1602.05629.
Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith: Federated Optimization in Heterogeneous Networks. MLSys 2020,
arXiv 1812.06127, equation (2).
"""

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.engine import Batch, Row
from fedtp_jax.methods.base import Method, Output, Task
from fedtp_jax.methods.roles import role_method
from fedtp_jax.tree import Leaves


def fedavg(settings: config.FedAvg, task: Task) -> Method:
    """w <- sum_k n_k / n * w_k."""
    return role_method(task, [("shared", (".",))])


def fedprox(settings: config.FedProx, task: Task) -> Method:
    """FedAvg whose clients minimise loss(w) + mu / 2 * |w - w_round|^2."""

    def objective(
        task: Task, output: Output, leaves: Leaves, shared: Leaves, row: Row, batch: Batch
    ) -> jax.Array:
        parameters = [path for path in shared if path.startswith("params/")]
        distance = sum(jnp.sum((leaves[p] - shared[p]) ** 2) for p in parameters)
        return task.cross_entropy(output.logits, batch) + settings.mu / 2 * distance

    return role_method(task, [("shared", (".",))], objective=objective)
