"""Federated averaging and its proximal form: every leaf is shared.

McMahan, Moore, Ramage, Hampson, Agueera y Arcas: Communication-Efficient Learning of Deep Networks from
Decentralized Data. AISTATS 2017, arXiv 1602.05629.
Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith: Federated Optimization in Heterogeneous Networks. MLSys 2020,
arXiv 1812.06127, equation (2).
"""

from fedtp_jax import config
from fedtp_jax.methods.base import Method, Task, role_method


def fedavg(settings: config.FedAvg, task: Task) -> Method:
    """w <- sum_k n_k / n * w_k."""
    return role_method(task, [("shared", (".",))])


def fedprox(settings: config.FedProx, task: Task) -> Method:
    """FedAvg whose clients minimise loss(w) + mu / 2 * |w - w_round|^2."""
    return role_method(task, [("shared", (".",))], proximal=settings.mu)
