"""FedTP: a hypernetwork on the server generates every client's self-attention projections.

Li, Cai, Wang, Tang, Ding, Lin, Shi: FedTP: Federated Learning by Transformer Personalization.
IEEE TNNLS 2023, arXiv 2211.01572, section III.
"""

from fedtp_jax import config
from fedtp_jax.core.errors import UserError
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.roles import Rule, role_method
from fedtp_jax.learning.task import Task


def fedtp(settings: config.FedTP, task: Task) -> Method:
    """W_k = h(z_k; phi) for `settings.generated`; phi steps along sum_k p_k J_k^T (W_k - W_k').

    With a personal head it is FedTP-Per. With `hypernetwork.base` W_k = W + h(z_k; phi), where h is nothing
    at first and W steps as shared leaves do, along sum_k p_k (W_k - W_k'): all begin from FedAvg's model.
    """
    return role_method(task, fedtp_rules(settings), settings.hypernetwork)


def fedtp_rules(settings: config.FedTP) -> list[Rule]:
    """Fixed leaves, generated and personal ones, and the rest shared."""
    if not settings.generated:
        raise UserError(
            "method.generated: empty, so there is nothing for the hypernetwork to do; name some leaves, or "
            "choose fedavg or fedper"
        )
    return [
        ("fixed", settings.fixed),
        ("generated", settings.generated),
        ("personal", settings.personal),
        ("shared", (".",)),
    ]
