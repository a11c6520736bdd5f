"""pFedHN: a hypernetwork on the server generates every client's whole model.

Shamsian, Navon, Fetaya, Chechik: Personalized Federated Learning using Hypernetworks. ICML 2021,
arXiv 2103.04628.
"""

from fedtp_jax import config
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.roles import Rule, role_method
from fedtp_jax.learning.task import STATISTICS, Task


def pfedhn(settings: config.PFedHN, task: Task) -> Method:
    """theta_k = h(z_k; phi) for every parameter; batch norm's running statistics, if any, are averaged."""
    has_statistics = any(path.startswith(STATISTICS) for path in task.leaf_shapes())
    statistics: list[Rule] = [("shared", (f"^{STATISTICS}",))] if has_statistics else []
    return role_method(task, [*statistics, ("generated", (".",))], settings.hypernetwork)
