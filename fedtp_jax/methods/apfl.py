"""APFL: every client predicts with a mixture of the shared model and one of its own.

Deng, Kamani, Mahdavi: Adaptive Personalized Federated Learning. arXiv 2003.13461, algorithm 1, as in the
authors' code (FedTorch): logits are mixed, not weights.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core import tree
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.learning.local_training import Carry, local_training
from fedtp_jax.learning.method import Kept, Method, State, Upload
from fedtp_jax.learning.roles import role_method, zeros
from fedtp_jax.learning.task import Output, Task

PERSONAL = "personal/"  # before the paths of the client's own model v
ALPHA = "mixing/alpha"  # a client's alpha, where it adapts
DECAY = 0.02  # alpha's own, in the authors' code

SHARE, OTHER = "share", "other"  # of the logits that are mixed in, and these, in what the mixture is told


class _Carry(NamedTuple):
    w: Carry
    v: Carry
    alpha: jax.Array


def apfl(settings: config.APFL, task: Task) -> Method:
    """w -= eta * grad loss(w); then v -= eta * grad_v loss(alpha * f(v) + (1 - alpha) * f(w)).

    f gives logits. w is shared, v stays with the client and starts from the common initial values. Both step
    by training.optimizer. What is predicted is the mixture; its features are those of v. Batch norm's running
    statistics are those of each model's own steps.

    With `adaptive` alpha is the client's own, and the first step of a round moves it too, by plain SGD at the
    personal role's learning rate, to stay in [0, 1].
    """
    shapes = {path: like.shape for path, like in task.leaf_shapes().items()}
    extra = {PERSONAL + path: zeros(shape) for path, shape in shapes.items()}  # `init` has their values
    if settings.adaptive:
        extra[ALPHA] = lambda key: _alpha(settings, {})
    method = role_method(task, [("shared", (".",))], extra=extra)

    def init(key: jax.Array, ids: jax.Array) -> State:
        state = method.init(key, ids)
        own = tree.repeated(state.shared, len(ids))
        return state._replace(rows={**state.rows, **{PERSONAL + path: v for path, v in own.items()}})

    def predict(
        leaves: Leaves, x: jax.Array, mask: jax.Array | None = None, key: jax.Array | None = None
    ) -> Output:
        w = task.forward(leaves, x, mask, key)
        v = task.forward(_personal(leaves), x, mask, key)
        # what a gradient moves it to, at a client met after training, stays a mixture
        alpha = jnp.clip(_alpha(settings, leaves), 0.0, 1.0)
        statistics = {**w.statistics, **{PERSONAL + path: leaf for path, leaf in v.statistics.items()}}
        return Output(alpha * v.logits + (1.0 - alpha) * w.logits, v.features, statistics)

    return method._replace(init=init, predict=predict, work=_mixing_work(settings, task, method))


def _personal(leaves: Leaves) -> Leaves:
    """v under the model's own paths."""
    return {path.removeprefix(PERSONAL): w for path, w in leaves.items() if path.startswith(PERSONAL)}


def _alpha(settings: config.APFL, leaves: Leaves) -> jax.Array:
    """A client's alpha."""
    return leaves.get(ALPHA, jnp.full((), settings.alpha, jnp.float32))


def _mixing_work(settings: config.APFL, task: Task, method: Method) -> ClientWork:
    def mixture(
        task: Task, output: Output, leaves: Leaves, shared: Leaves, row: Row, batch: Batch
    ) -> jax.Array:
        mixed = shared[SHARE] * output.logits + (1.0 - shared[SHARE]) * shared[OTHER]
        return task.loss(mixed, batch)

    alone = local_training(task, method.roles)
    mixing = local_training(task, dict.fromkeys(task.leaf_shapes(), "personal"), mixture)
    eta = task.training.role_learning_rates.personal
    eta = task.training.learning_rate if eta is None else eta

    def start(shared: Leaves, row: Row, key: jax.Array) -> _Carry:
        w = alone.start(shared, row._replace(leaves={}), key)
        v = mixing.start(_personal(row.leaves), row._replace(leaves={}), key)
        return _Carry(w, v, _alpha(settings, row.leaves))

    def step(shared: Leaves, row: Row, carry: _Carry, batch: Batch, key: jax.Array) -> _Carry:
        """The batch's dropout is the same for both models."""
        w, _ = alone.step(shared, row, carry.w, batch, key)
        logits = task.forward(w.leaves, batch.x, batch.mask, key).logits
        told = {SHARE: carry.alpha, OTHER: logits}
        loss, output, of_v = mixing.gradient(told, row, carry.v.leaves, batch, key)
        v, alpha = mixing.move(told, row, carry.v, batch, loss, output, of_v), carry.alpha
        if settings.adaptive:
            told = {SHARE: 1.0 - alpha, OTHER: output.logits}
            _, _, of_w = mixing.gradient(told, row, w.leaves, batch, key)
            slope = sum(
                jnp.sum((v.leaves[p] - w.leaves[p]) * (alpha * of_v[p] + (1.0 - alpha) * of_w[p]))
                for p in of_v
            )
            moved = alpha - eta * row.facts.rate * (slope + DECAY * alpha)
            alpha = jnp.where(batch.step == 0, jnp.clip(moved, 0.0, 1.0), alpha)
        return _Carry(w, v, alpha)

    def finish(shared: Leaves, row: Row, carry: _Carry) -> tuple[Upload, Kept]:
        own = {PERSONAL + path: leaf for path, leaf in carry.v.leaves.items()}
        own |= {ALPHA: carry.alpha} if settings.adaptive else {}
        return alone.finish(shared, row, carry.v._replace(leaves={**carry.w.leaves, **own}))

    return ClientWork(start, step, finish)
