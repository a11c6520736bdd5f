"""Ditto: FedAvg, and beside it a personal model that is held near the shared one as it was sent.

Li, Hu, Beirami, Smith: Ditto: Fair and Robust Federated Learning Through Personalization. ICML 2021,
arXiv 2012.04221, algorithm 1 with FedAvg for the shared model.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.tree import Leaves, Role
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.learning.local_training import Carry, held_near_shared, local_training
from fedtp_jax.learning.method import Kept, Method, State, Upload
from fedtp_jax.learning.roles import role_method
from fedtp_jax.learning.task import Task


class _Carry(NamedTuple):
    w: Carry
    v: Carry


def ditto(settings: config.Ditto, task: Task) -> Method:
    """Per batch v <- v - eta * (grad F(v) + lambda * (v - w as sent)) and w <- w - eta * grad F(w).

    Both on the same batch, as in the authors' code; others train w for all epochs first and v after it, on
    batches of its own. w is shared, the training loss and the evaluation are those of v. One that has not
    trained yet runs v as it was initialised, which is w as it was initialised.
    """
    if task.training.role_learning_rates != config.RoleRates():
        raise UserError(
            "training.role_learning_rates: ditto has two models, not roles; set training.learning_rate, that "
            "of both"
        )
    method = role_method(task, [("shared", (".",))])

    def init(key: jax.Array, ids: jax.Array) -> State:
        state = method.init(key, ids)
        return state._replace(rows=tree.repeated(state.shared, len(ids)))

    return method._replace(init=init, work=_two_models_work(settings, task, method))


def _two_models_work(settings: config.Ditto, task: Task, method: Method) -> ClientWork:
    personal: Role = "personal"
    of_v = dict.fromkeys(method.roles, personal)
    w_steps = local_training(task, method.roles)
    v_steps = local_training(task, of_v, held_near_shared(settings.penalty))

    def start(shared: Leaves, row: Row, key: jax.Array) -> _Carry:
        return _Carry(w_steps.start(shared, row._replace(leaves={}), key), v_steps.start({}, row, key))

    def step(shared: Leaves, row: Row, carry: _Carry, batch: Batch, key: jax.Array) -> _Carry:
        w, _ = w_steps.step(shared, row, carry.w, batch, key)
        v, _ = v_steps.step(shared, row, carry.v, batch, key)
        return _Carry(w, v)

    def finish(shared: Leaves, row: Row, carry: _Carry) -> tuple[Upload, Kept]:
        loss = jnp.where(tree.all_finite(carry.v.leaves), carry.v.loss, jnp.nan)  # one is out with the other
        upload, kept = w_steps.finish(shared, row._replace(leaves={}), carry.w._replace(loss=loss))
        return upload, kept._replace(personal=carry.v.leaves)

    return ClientWork(start, step, finish)
