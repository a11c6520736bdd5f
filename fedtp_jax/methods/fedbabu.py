"""FedBABU: the head stays as it was initialised, the same for all, and only the body is trained and averaged.

Oh, Kim, Yun: FedBABU: Toward Enhanced Representation for Federated Image Classification. ICLR 2022,
arXiv 2106.06042, algorithm 1.
"""

from fedtp_jax import config
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.roles import role_method
from fedtp_jax.learning.task import Task


def fedbabu(settings: config.FedBABU, task: Task) -> Method:
    """The leaves of `settings.fixed` are never trained, the rest is averaged.

    Clients are evaluated with this one model of all. The paper's personal models are it after five epochs of
    fine-tuning of all leaves, head included, on the client's own train shard: that is evaluation.adapt.

    The authors train with learning rate .1 (times .1 at half and at three quarters of the rounds), momentum
    .9, no decay and batches of 50, and average without weights.
    """
    return role_method(task, [("fixed", settings.fixed), ("shared", (".",))])
