"""Some leaves stay with the client: local training, FedPer, FedBN, and FedTP's "vanilla personalization".

Arivazhagan, Aggarwal, Singh, Choudhary: Federated Learning with Personalization Layers. arXiv 1912.00818.
Li, Jiang, Zhang, Kamp, Dou: FedBN: Federated Learning on Non-IID Features via Local Batch Normalization.
ICLR 2021, arXiv 2102.07623.
Li et al.: FedTP. IEEE TNNLS 2023, arXiv 2211.01572, section III (vanilla personalization of self-attention,
"Personalized-T" in the authors' code).
"""

from fedtp_jax import config
from fedtp_jax.methods.base import STATISTICS, Method, Task
from fedtp_jax.methods.roles import Rule, role_method


def local(settings: config.Local, task: Task) -> Method:
    """No leaf is shared: every client trains alone, from common initial values."""
    return role_method(task, [("personal", (".",))])


def personal(settings: config.FedPer | config.Vanilla, task: Task) -> Method:
    """The leaves of `settings.personal` stay with the client, the rest is averaged."""
    return role_method(task, [("personal", settings.personal), ("shared", (".",))])


def fedbn(settings: config.FedBN, task: Task) -> Method:
    """Normalisation layers stay with the client; running statistics follow a policy of their own."""
    has_statistics = any(path.startswith(STATISTICS) for path in task.leaf_shapes())
    policy: list[Rule] = []
    if settings.statistics == "aggregate" and has_statistics:
        policy = [("shared", (f"^{STATISTICS}",))]
    return role_method(task, [*policy, ("personal", settings.personal), ("shared", (".",))])
