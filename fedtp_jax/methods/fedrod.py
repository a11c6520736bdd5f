"""FedRod: a shared, class-balanced predictor and a personal head on the same features.

Chen, Chao: On Bridging Generic and Personalized Federated Learning for Image Classification. ICLR 2022,
arXiv 2107.00778, sections 4.2 and 4.3 (balanced softmax after Ren et al., arXiv 2007.10740).
FedTP with it: Li et al., arXiv 2211.01572 ("FedTP-Rod" in the authors' code).
"""

import jax
import jax.numpy as jnp
import optax

from fedtp_jax import config
from fedtp_jax.core import tree
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch, Row
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.optimizers import make_optimizer
from fedtp_jax.learning.roles import Rule, role_method
from fedtp_jax.learning.task import Output, Task
from fedtp_jax.methods.fedtp import fedtp_rules
from fedtp_jax.models.layers import uniform_fan_in

KERNEL, BIAS = "personal_head/kernel", "personal_head/bias"


def fedrod(settings: config.FedRod, task: Task) -> Method:
    """The whole model is shared and trained on the balanced loss; the personal head learns what it misses."""
    return _with_personal_head("fedrod", task, [("shared", (".",))])


def fedtp_rod(settings: config.FedTPRod, task: Task) -> Method:
    """FedRod with generated self-attention."""
    return _with_personal_head("fedtp_rod", task, fedtp_rules(settings), settings.hypernetwork)


def _with_personal_head(
    name: str, task: Task, rules: list[Rule], hypernetwork: config.Hypernetwork = config.Hypernetwork()
) -> Method:
    size = task.feature_size(f"method {name}")
    init = uniform_fan_in(size)
    method = role_method(
        task,
        rules,
        hypernetwork,
        balanced_objective,
        head_step,
        extra={
            KERNEL: lambda key: init(key, (size, task.num_classes)),
            BIAS: lambda key: init(key, (task.num_classes,)),
        },
    )

    def predict(
        leaves: Leaves, x: jax.Array, mask: jax.Array | None = None, key: jax.Array | None = None
    ) -> Output:
        output = task.forward(leaves, x, mask, key)
        return output._replace(logits=output.logits + output.features @ leaves[KERNEL] + leaves[BIAS])

    return method._replace(predict=predict, class_counts=True)


def balanced_objective(
    task: Task, output: Output, leaves: Leaves, shared: Leaves, row: Row, batch: Batch
) -> jax.Array:
    """Cross-entropy of generic logits + log(share of the class at the client); absent classes count -inf."""
    counts = row.facts.class_counts
    return task.loss(output.logits + jnp.log(counts / jnp.sum(counts)), batch)


def head_step(task: Task, leaves: Leaves, output: Output, row: Row, batch: Batch) -> Leaves:
    """Plain SGD on the personal head alone, on the features and generic logits from before the step.

    With the training's decay, and its clip_norm on the head's own gradient.
    """
    logits, features = jax.lax.stop_gradient((output.logits, output.features))
    training = task.training
    rate = training.role_learning_rates.personal
    rate = training.learning_rate if rate is None else rate

    def loss(head: tuple[jax.Array, jax.Array]) -> jax.Array:
        return task.loss(logits + features @ head[0] + head[1], batch)

    head = leaves[KERNEL], leaves[BIAS]
    sgd = make_optimizer(
        config.Optimizer("sgd", {}), "method", rate, training.weight_decay, training.clip_norm
    )
    updates, _ = sgd.update(jax.grad(loss)(head), sgd.init(head), head)
    new = optax.apply_updates(head, tree.scale(updates, row.facts.rate))
    return dict(zip((KERNEL, BIAS), new, strict=True))
