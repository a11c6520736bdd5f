"""FedPer: the classifier's head stays with the client.

Arivazhagan, Aggarwal, Singh, Choudhary: Federated Learning with Personalization Layers. arXiv 1912.00818.
"""

from fedtp_jax import config
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.roles import role_method
from fedtp_jax.learning.task import Task


def fedper(settings: config.FedPer, task: Task) -> Method:
    """The leaves of `settings.personal` stay with the client, the rest is averaged."""
    return role_method(task, [("fixed", settings.fixed), ("personal", settings.personal), ("shared", (".",))])
