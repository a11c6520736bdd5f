"""Some leaves stay with the client: local training, FedPer, and FedTP's "vanilla personalization".

Arivazhagan, Aggarwal, Singh, Choudhary: Federated Learning with Personalization Layers. arXiv 1912.00818.
Li et al.: FedTP. IEEE TNNLS 2023, arXiv 2211.01572, section III (vanilla personalization of self-attention,
"Personalized-T" in the authors' code).
"""

from fedtp_jax import config
from fedtp_jax.methods.base import Method, Task, role_method


def local(settings: config.Local, task: Task) -> Method:
    """No leaf is shared: every client trains alone, from common initial values."""
    return role_method(task, [("personal", (".",))])


def personal(settings: config.FedPer | config.Vanilla, task: Task) -> Method:
    """The leaves of `settings.personal` stay with the client, the rest is averaged."""
    return role_method(task, [("personal", settings.personal), ("shared", (".",))])
