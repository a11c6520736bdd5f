"""Federated averaging: every leaf is shared.

McMahan, Moore, Ramage, Hampson, Agueera y Arcas: Communication-Efficient Learning of Deep Networks from
Decentralized Data. AISTATS 2017, arXiv 1602.05629.
"""

from fedtp_jax import config
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.roles import role_method
from fedtp_jax.learning.task import Task


def fedavg(settings: config.FedAvg, task: Task) -> Method:
    """w <- sum_k n_k / n * w_k."""
    return role_method(task, [("shared", (".",))])
