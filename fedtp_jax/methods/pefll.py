"""PeFLL: a client's embedding is computed from its data, by a network that learns with the hypernetwork.

Scott, Zakerinia, Lampert: PeFLL: Personalized Federated Learning by Learning to Learn. ICLR 2024,
arXiv 2306.05515, algorithms 1 and 2.
"""

from fedtp_jax import config
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.roles import Rule, role_method
from fedtp_jax.learning.task import STATISTICS, Task
from fedtp_jax.methods.fedtp import fedtp_rules
from fedtp_jax.models.descriptor import Descriptor


def pefll(settings: config.PeFLL, task: Task) -> Method:
    """theta_k = h(v_k; phi), v_k the mean of f(x, y; psi) over examples of client k.

    phi and psi step along the mean of their gradients, those of v_k and theta_k with the cotangent theta_k as
    sent - theta_k as returned. Before h sees it an embedding's numbers are brought to mean 0 and deviation 1:
    the authors take mean and deviation from the first client of the first round, for all clients and rounds.
    """
    has_statistics = any(path.startswith(STATISTICS) for path in task.leaf_shapes())
    rules: list[Rule] = [("shared", (f"^{STATISTICS}",))] if has_statistics else []
    rules += fedtp_rules(settings)
    descriptor = Descriptor(settings.hypernetwork.embedding, task.num_classes, task.inputs, settings.kernels)
    method = role_method(task, rules, settings.hypernetwork, descriptor=descriptor)
    assert method.description, "there is a descriptor"
    return method._replace(description=method.description._replace(batches=settings.batches))
