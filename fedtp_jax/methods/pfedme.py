"""pFedMe: every client's personal model is held near the shared one by a Moreau envelope.

Dinh, Tran, Nguyen: Personalized Federated Learning with Moreau Envelopes. NeurIPS 2020, arXiv 2006.08848,
algorithm 1. Its beta is the server's learning rate.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.engine.population import HAS_TRAINED
from fedtp_jax.learning.local_training import Carry, held_near_shared, local_training
from fedtp_jax.learning.method import Kept, Method, State, Upload
from fedtp_jax.learning.roles import role_method
from fedtp_jax.learning.task import STATISTICS, Task


class _Carry(NamedTuple):
    theta: Carry
    w: Leaves


def pfedme(settings: config.PFedMe, task: Task) -> Method:
    """Per batch theta ~ argmin loss(theta) + lambda/2 |theta - w|^2, then w -= lambda * eta * (w - theta).

    w is shared; theta, which starts from w in every round (as in the authors' code), is what clients run. One
    that has not trained yet runs w, where its theta would start.
    """
    if task.training.role_learning_rates != config.RoleRates():
        raise UserError(
            "training.role_learning_rates: pfedme has two models, not roles; set training.learning_rate "
            "(theta) and method.outer_learning_rate (w)"
        )
    method = role_method(task, [("shared", (".",))])

    def init(key: jax.Array, ids: jax.Array) -> State:
        state = method.init(key, ids)
        theta = tree.repeated(state.shared, len(ids))
        return state._replace(rows={**theta, HAS_TRAINED: jnp.zeros(len(ids))})

    def realize(shared: Leaves, phi: Leaves, own: Leaves) -> Leaves:
        theta = {path: rows for path, rows in own.items() if path != HAS_TRAINED}
        if HAS_TRAINED not in own:
            return theta
        w = {path: jnp.broadcast_to(shared[path], rows.shape) for path, rows in theta.items()}
        return tree.where_rows(own[HAS_TRAINED] > 0, theta, w)

    def send(state: State) -> tuple[Leaves, Leaves]:
        return state.shared, {}

    return method._replace(init=init, realize=realize, send=send, work=_envelope_work(settings, task, method))


def _envelope_work(settings: config.PFedMe, task: Task, method: Method) -> ClientWork:
    outer = settings.outer_learning_rate
    eta = task.training.learning_rate if outer is None else outer

    steps = local_training(task, method.roles, held_near_shared(settings.penalty))

    def start(shared: Leaves, row: Row, key: jax.Array) -> _Carry:
        return _Carry(steps.start(shared, row, key), shared)

    def step(shared: Leaves, row: Row, carry: _Carry, batch: Batch, key: jax.Array) -> _Carry:
        def inner(i: jax.Array, theta: Carry) -> Carry:
            return steps.step(carry.w, row, theta, batch, jax.random.fold_in(key, i))[0]

        theta, k = jax.lax.fori_loop(0, settings.inner_steps, inner, carry.theta), settings.inner_steps
        theta = theta._replace(  # the batch was seen once, however many steps it served
            loss=carry.theta.loss + (theta.loss - carry.theta.loss) / k,
        )
        rate = settings.penalty * eta * row.facts.rate

        def outer(path: str, w: jax.Array) -> jax.Array:
            return theta.leaves[path] if path.startswith(STATISTICS) else w - rate * (w - theta.leaves[path])

        return _Carry(theta, {path: outer(path, w) for path, w in carry.w.items()})

    def finish(shared: Leaves, row: Row, carry: _Carry) -> tuple[Upload, Kept]:
        # w follows theta in every step, so it tells whether both are finite
        upload, kept = steps.finish(shared, row, carry.theta._replace(leaves=carry.w))
        return upload, kept._replace(personal=carry.theta.leaves)

    return ClientWork(start, step, finish)
