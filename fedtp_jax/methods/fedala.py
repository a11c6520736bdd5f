"""FedALA: a client starts from a mixture of its last own model and the shared one, whose weights it learns.

Zhang, Hua, Wang, Song, Xue, Ma, Guan: FedALA: Adaptive Local Aggregation for Personalized Federated Learning.
AAAI 2023, arXiv 2212.01197, algorithm 1, equations 4 and 5.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.engine.prelude import Prelude
from fedtp_jax.learning.local_training import Carry, local_training
from fedtp_jax.learning.method import Kept, Method, State, Upload
from fedtp_jax.learning.roles import role_method, zeros
from fedtp_jax.learning.task import STATISTICS, Task

THETA = "local/"  # before the paths of the leaves that a client mixes: their last values of its own
WEIGHT = "mixing/"  # and their weights


class _Carry(NamedTuple):
    local: Carry
    weights: Leaves


def fedala(settings: config.FedALA, task: Task) -> Method:
    """u = theta + (w - theta) * W of the leaves in `settings.personal`, u = w of the others; then SGD from u.

    Before that W <- clip(W - eta_W * grad_u F(u) * (w - theta), 0, 1), from ones at first, batch by batch of
    a random share of the shard: the method's prelude, each step of which takes the time of a local one. F is
    in training mode there too (dropout, a batch's own statistics). The whole model is uploaded; of theta a
    client keeps what it mixes. It is evaluated with the u of its theta and W and of the present w.

    The authors take the last 2 tensors, eta_W 1, learning rate .005, batches of 10, and 20 clients that all
    take part; where not all do, all learn W in every round nevertheless. Here the cohort does, as in the
    paper. In a client's first prelude they repeat the pass until the standard deviation of its last 10 losses
    is below .1; here there are `settings.passes` in every round, as who does how many steps is settled before
    a round.
    """
    if task.training.role_learning_rates != config.RoleRates():
        raise UserError(
            "training.role_learning_rates: fedala shares the whole model; set training.learning_rate, and "
            "method.mixing_learning_rate for the weights"
        )
    mixed = _mixed(settings, task)
    extra = {THETA + path: zeros(shape) for path, shape in mixed.items()}  # `init` has their values
    extra |= {WEIGHT + path: functools.partial(_ones, shape) for path, shape in mixed.items()}
    method = role_method(task, [("shared", (".",))], extra=extra)

    def init(key: jax.Array, ids: jax.Array) -> State:
        state = method.init(key, ids)
        theta = tree.repeated({THETA + path: state.shared[path] for path in mixed}, len(ids))
        return state._replace(rows={**state.rows, **theta})

    def realize(shared: Leaves, phi: Leaves, own: Leaves) -> Leaves:
        # what a gradient moves W to, at a client met after training, stays a mixture
        weights = {path: jnp.clip(own[WEIGHT + path], 0.0, 1.0) for path in mixed}
        return _mixture(shared, own, weights)

    work, prelude = _work(settings, task, method, list(mixed)), Prelude(settings.passes, settings.share)
    return method._replace(init=init, realize=realize, work=work, prelude=prelude)


def _mixed(settings: config.FedALA, task: Task) -> dict[str, tuple[int, ...]]:
    """{path: shape} of the parameters that a client mixes; running statistics have no gradient."""
    shapes = task.leaf_shapes()
    matched = tree.matching(list(shapes), settings.personal, "method.personal")
    mixed = {path: shapes[path].shape for path in sorted(matched) if not path.startswith(STATISTICS)}
    if not mixed:
        raise UserError(
            f"method.personal: {list(settings.personal)} names no parameter, so there is nothing to mix; "
            "name some, such as 'head/', or choose fedavg"
        )
    return mixed


def _ones(shape: tuple[int, ...], key: jax.Array) -> jax.Array:
    return jnp.ones(shape)


def _mixture(shared: Leaves, own: Leaves, weights: Leaves) -> Leaves:
    """u, written such that a weight of 1 gives the very shared value, and 0 the client's own."""
    return {p: (1.0 - weight) * own[THETA + p] + weight * shared[p] for p, weight in weights.items()}


def _work(settings: config.FedALA, task: Task, method: Method, mixed: list[str]) -> ClientWork:
    local, eta = local_training(task, method.roles), settings.mixing_learning_rate

    def start(shared: Leaves, row: Row, key: jax.Array) -> _Carry:
        weights = {path: row.leaves[WEIGHT + path] for path in mixed}
        u = {**shared, **_mixture(shared, row.leaves, weights)}
        return _Carry(local.start(u, row._replace(leaves={}), key), weights)

    def step(shared: Leaves, row: Row, carry: _Carry, batch: Batch, key: jax.Array) -> _Carry:
        """One gradient serves either kind of step: lanes that differ in it would have to take both."""
        found = local.gradient(shared, row, carry.local.leaves, batch, key)
        moved = local.move(shared, row, carry.local, batch, *found)
        learned = {
            path: jnp.clip(
                weight - eta * found[2][path] * (shared[path] - row.leaves[THETA + path]), 0.0, 1.0
            )
            for path, weight in carry.weights.items()
        }
        u = {**carry.local.leaves, **_mixture(shared, row.leaves, learned)}
        in_prelude = _Carry(carry.local._replace(leaves=u), learned)
        choose = functools.partial(jnp.where, batch.step < 0)
        return jax.tree.map(choose, in_prelude, _Carry(moved, carry.weights))

    def finish(shared: Leaves, row: Row, carry: _Carry) -> tuple[Upload, Kept]:
        leaves = carry.local.leaves
        own = {THETA + path: leaves[path] for path in mixed}
        own |= {WEIGHT + path: weight for path, weight in carry.weights.items()}
        return local.finish(shared, row, carry.local._replace(leaves={**leaves, **own}))

    return ClientWork(start, step, finish)
