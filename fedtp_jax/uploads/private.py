"""Uploads of which no one can be told from their noisy sum: each client's change has a bounded norm.

McMahan, Ramage, Talwar, Zhang: Learning Differentially Private Recurrent Language Models. ICLR 2018, arXiv
1710.06963 (flat clipping, fixed denominator). Personal leaves as in: Bietti, Wei, Dudik, Langford, Wu:
Personalization Improves Privacy-Accuracy Tradeoffs in Federated Learning. ICML 2022, arXiv 2202.05318.
"""

import jax
import jax.numpy as jnp

from fedtp_jax.core.errors import UserError
from fedtp_jax.core.tree import Leaves
from fedtp_jax.learning.method import Kept, Method, Upload
from fedtp_jax.learning.task import STATISTICS, Task
from fedtp_jax.uploads.chain import changing
from fedtp_jax.uploads.change import by_changes
from fedtp_jax.uploads.transform import norm_of
from fedtp_jax.uploads.whole_change import with_whole_changes

TINY = 1e-15  # a norm by which is divided


def with_bounded_changes(method: Method, clip: float, clients: float, task: Task, name: str) -> Method:
    """`method` of whose clients the server sees the sum of changes of norm `clip` at most, over `clients`.

    A client's change of the shared leaves and the gradient of the hypernetwork that its generated leaves'
    change gives, J_k^T Delta_k, are one vector; min(1, clip / its norm) scales both, exactly: the gradient is
    linear in the change of the generated leaves. Every client weighs 1 / `clients`, however many come. Raises
    UserError where the server sees anything else of a client.
    """
    changing(method, task, name, "privacy")
    _check_statistics(method, task, name)

    def finish(upload: Upload, kept: Kept, change: Leaves) -> tuple[Upload, Kept]:
        good = kept.excluded == 0
        weight = jnp.where(upload.weight > 0, upload.weight, 1.0)
        share = jnp.minimum(1.0, clip / jnp.maximum(norm_of(change), TINY)) / clients

        def bounded(leaves: Leaves, by: jax.Array) -> Leaves:
            return {path: jnp.where(good, by * leaf, 0.0) for path, leaf in leaves.items()}

        shared = bounded({path: change[path] for path in upload.shared}, share)
        cotangent = bounded(kept.cotangent, share / weight)
        return Upload(shared, jnp.where(good, 1 / clients, 0.0)), kept._replace(cotangent=cotangent)

    # sums of changes over the fixed number of clients, noise included
    return with_whole_changes(method, finish)._replace(aggregate=by_changes(method))


def _check_statistics(method: Method, task: Task, name: str) -> None:
    """Raise UserError for running statistics that travel: sums of examples that no noise hides."""
    clear = [p for p in task.leaf_shapes() if p.startswith(STATISTICS) and method.roles.get(p) == "shared"]
    if clear:
        raise UserError(
            f"privacy: the clients of method {name} send {clear[0]}, running statistics of their examples, "
            "in clear; choose a model without batch norm, or keep them personal (method fedbn)"
        )
