"""FedBN: norm layers stay with the client.

Li, Jiang, Zhang, Kamp, Dou: FedBN: Federated Learning on Non-IID Features via Local Batch Normalization.
ICLR 2021, arXiv 2102.07623.
"""

from fedtp_jax import config
from fedtp_jax.core.tree import Role
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.roles import Rule, role_method
from fedtp_jax.learning.task import STATISTICS, Task


def fedbn(settings: config.FedBN, task: Task) -> Method:
    """Normalisation layers stay with the client; running statistics follow a policy of their own."""
    role: Role = "personal" if settings.statistics == "local" else "shared"
    has_statistics = any(path.startswith(STATISTICS) for path in task.leaf_shapes())
    policy: list[Rule] = [(role, (f"^{STATISTICS}",))] if has_statistics else []
    rules: list[Rule] = [("fixed", settings.fixed), ("personal", settings.personal), ("shared", (".",))]
    return role_method(task, [*policy, *rules])
