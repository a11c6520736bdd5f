"""Training of single clients beside the rounds: optimizer steps on what a client may change, nothing else."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch
from fedtp_jax.learning.optimizers import make_optimizer
from fedtp_jax.learning.task import STATISTICS, Output, Task, masked_mean


class Adapting(NamedTuple):
    """A client between two steps: the leaves that it may change, and its optimizer's state."""

    own: Leaves
    opt: Any


class AdaptationSteps(NamedTuple):
    """The steps of which works are made.

    start: own -> Adapting, with a fresh optimizer; step: (everything, carry, batch, key) -> Adapting, where
    `everything` makes of what the client may change all leaves that it runs.
    """

    start: Callable[[Leaves], Adapting]
    step: Callable[[Callable[[Leaves], Leaves], Adapting, Batch, jax.Array], Adapting]


def adaptation(
    task: Task,
    predict: Callable[..., Output],
    learning_rate: float,
    rescale: Callable[[Leaves], Leaves] = lambda updates: updates,
    scaled: str = "",
    known: Sequence[str] = (),
) -> AdaptationSteps:
    """Steps by the cross-entropy of the client's own predictions, with the clients' optimizer.

    One learning rate for all leaves: neither training.schedule nor training.role_learning_rates count.
    Examples to which the client gives no probability do not count. Running statistics among what it may
    change are what the forward pass leaves. `rescale` changes updates, as the setting `scaled` says. Leaves
    that are `known` stay what they are.
    """
    training = task.training
    how = learning_rate, training.weight_decay, training.clip_norm
    optimizer = make_optimizer(training.optimizer, "training.optimizer", *how, scaled=scaled)

    def parameters(leaves: Leaves) -> Leaves:
        stays = {path for path in leaves if path.startswith(STATISTICS)} | {*known}
        return {path: leaf for path, leaf in leaves.items() if path not in stays}

    def start(own: Leaves) -> Adapting:
        return Adapting(own, optimizer.init(parameters(own)))

    def step(
        everything: Callable[[Leaves], Leaves], carry: Adapting, batch: Batch, key: jax.Array
    ) -> Adapting:
        own, opt = carry

        def loss(trained: Leaves) -> tuple[jax.Array, Leaves]:
            output = predict(everything({**own, **trained}), batch.x, batch.mask, key)
            losses = task.losses(output.logits, batch)
            return masked_mean(jnp.where(jnp.isinf(losses), 0.0, losses), batch.mask), output.statistics

        trained = parameters(own)
        gradient, statistics = jax.grad(loss, has_aux=True)(trained)
        updates, opt = optimizer.update(gradient, opt, trained)
        statistics = {path: leaf for path, leaf in statistics.items() if path in own}
        return Adapting({**own, **optax.apply_updates(trained, rescale(updates)), **statistics}, opt)

    return AdaptationSteps(start, step)
