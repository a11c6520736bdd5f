"""FedTP with class priors: clients differ in what classes they hold, and each knows that without learning it.

The hypernetwork is FedTP's (Li et al., arXiv 2211.01572, section III); what it generates is added to shared
kernels. The log of a client's class shares is added to its logits, as Ren et al. do in training (Balanced
Meta-Softmax for Long-Tailed Visual Recognition, NeurIPS 2020, arXiv 2007.10740, section 3.1), and FedRod for
its shared predictor (Chen & Chao, arXiv 2107.00778): here in use too. Both together are this package's.
"""

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch, Row
from fedtp_jax.learning.method import Counted, Method
from fedtp_jax.learning.roles import Rule, role_method, zeros
from fedtp_jax.learning.task import Output, Task
from fedtp_jax.methods.fedtp import fedtp

PRIOR = "prior/log_shares"  # the path of log pi_k, [C], among a client's rows


def fedtp_prior(settings: config.FedTPPrior, task: Task) -> Method:
    """W_k = W + h(z_k; phi) for `settings.generated`, and logits + log pi_k, in training as in use.

    pi_kc = (n_kc + s) / (n_k + s C), n_kc the train examples of class c that client k holds (of text: windows
    whose last label it is), s the smoothing. pi_k never leaves the client, and no step changes it. It is set
    when the client first takes part; until then, and for who holds no example, 0 stands for log pi_k.

    With nothing generated it is FedAvg with class priors. Without a smoothing it is FedTP: with its base, its
    optimizer and all kernels unless `generated` and `hypernetwork` are FedTP's too.
    """
    smoothing = settings.smoothing
    if smoothing is None:
        return fedtp(settings, task)
    rules: list[Rule] = [
        ("fixed", settings.fixed),
        ("generated", settings.generated),
        ("personal", settings.personal),
        ("shared", (".",)),
    ]
    extra = {PRIOR: zeros((task.num_classes,))}
    method = role_method(task, rules, settings.hypernetwork, objective, kept_prior, extra, known=(PRIOR,))

    def prior_of(counts: jax.Array) -> Leaves:
        held = counts + smoothing
        shares = held / held.sum(-1, keepdims=True)
        return {PRIOR: jnp.where(counts.sum(-1, keepdims=True) > 0, jnp.log(shares), 0.0)}

    def start(shared: Leaves, row: Row, key: jax.Array) -> object:
        told = prior_of(row.facts.class_counts)
        return method.work.start(shared, row._replace(leaves={**row.leaves, **told}), key)

    def predict(
        leaves: Leaves, x: jax.Array, mask: jax.Array | None = None, key: jax.Array | None = None
    ) -> Output:
        output = task.forward(leaves, x, mask, key)
        return output._replace(logits=output.logits + jax.lax.stop_gradient(leaves[PRIOR]))

    work, counted = method.work._replace(start=start), Counted((PRIOR,), prior_of)
    return method._replace(work=work, predict=predict, class_counts=True, counted=counted)


def objective(
    task: Task, output: Output, leaves: Leaves, shared: Leaves, row: Row, batch: Batch
) -> jax.Array:
    """The task's loss of logits + log pi_k."""
    return task.loss(output.logits + jax.lax.stop_gradient(leaves[PRIOR]), batch)


def kept_prior(task: Task, leaves: Leaves, output: Output, row: Row, batch: Batch) -> Leaves:
    """The prior as it was: no decay moves it either."""
    return {PRIOR: leaves[PRIOR]}
