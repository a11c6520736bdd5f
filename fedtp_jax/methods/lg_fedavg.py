"""LG-FedAvg: every client has a representation of its own under a common head.

Liang, Liu, Ziyin, Allen, Auerbach, Brent, Salakhutdinov, Morency: Think Locally, Act Globally: Federated
Learning with Local and Global Representations. arXiv 2001.01523, algorithm 1.
"""

from fedtp_jax import config
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.roles import role_method
from fedtp_jax.learning.task import Task


def lg_fedavg(settings: config.LGFedAvg, task: Task) -> Method:
    """The leaves of `settings.shared` are averaged, the rest stays with the client.

    From common initial values; the authors start from a model that FedAvg has trained.
    """
    return role_method(task, [("fixed", settings.fixed), ("shared", settings.shared), ("personal", (".",))])
