"""FedTP's "vanilla personalization": attention's projections stay with the client, who stores them.

Li et al.: FedTP. IEEE TNNLS 2023, arXiv 2211.01572, section III ("Personalized-T" in the authors' code).
"""

from fedtp_jax import config
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.roles import role_method
from fedtp_jax.learning.task import Task


def vanilla(settings: config.Vanilla, task: Task) -> Method:
    """The leaves of `settings.personal` stay with the client, the rest is averaged."""
    return role_method(task, [("fixed", settings.fixed), ("personal", settings.personal), ("shared", (".",))])
