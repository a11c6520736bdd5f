"""Local training: every client for itself, the bound that federation must beat."""

from fedtp_jax import config
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.roles import role_method
from fedtp_jax.learning.task import Task


def local(settings: config.Local, task: Task) -> Method:
    """No leaf is shared: every client trains alone, from common initial values."""
    return role_method(task, [("personal", (".",))])
