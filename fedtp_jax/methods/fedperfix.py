"""FedPerfix: the adapters beside attention and the classifier's head stay with the client.

Sun, Mendieta, Luo, Wu, Chen: FedPerfix: Towards Partial Model Personalization of Vision Transformers in
Federated Learning. ICCV 2023, arXiv 2308.09160.
"""

from fedtp_jax import config
from fedtp_jax.core.errors import UserError
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.task import Task
from fedtp_jax.methods.fedper import fedper


def fedperfix(settings: config.FedPerfix, task: Task) -> Method:
    """FedPer of `settings.personal` on a model that has adapters (models/adapter.py).

    The authors train a ViT-S/16 with adapters of 256 and a scale of 1.5; of 64 clients an eighth takes part,
    for 10 passes in batches of 64, by plain SGD of learning rate .01. On CIFAR-100 the last block stays with
    the client too.
    """
    if not any("/adapter/" in path for path in task.leaf_shapes()):
        raise UserError(
            "model.adapter.size: the model has no adapter, and fedperfix is about one beside attention; give "
            "vit or transformer model.adapter.size=256, or choose fedper"
        )
    return fedper(settings, task)
