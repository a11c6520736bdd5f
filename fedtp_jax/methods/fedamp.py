"""FedAMP: the server makes a model for every client, of those of the clients that are like it.

Huang, Chu, Zhou, Wang, Liu, Pei, Zhang: Personalized Cross-Silo Federated Learning on Non-IID Data.
AAAI 2021, arXiv 2007.03797, algorithm 1.
"""

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.learning.local_training import Carry, held_near_shared, local_training
from fedtp_jax.learning.method import Kept, Method, Mix, State, Upload
from fedtp_jax.learning.roles import role_method
from fedtp_jax.learning.task import STATISTICS, Task

CLOUD = "cloud/"  # before the paths of a client's cloud model u_k, in its row
PRECISION = jax.lax.Precision.HIGHEST  # of products that TF32 would round as much as models differ


def fedamp(settings: config.FedAMP, task: Task) -> Method:
    """From u_k client k lessens F_k(w) + lambda / (2 alpha) |w - u_k|^2; of all w_k the server makes new u_k.

    w_k, which is evaluated, and u_k are rows, equal before the first round. In the paper all clients take
    part in every round. Here u_k is made of those that returned in a round, and for them; who is absent keeps
    w_k and u_k, and starts from that u_k when it is drawn again. Batch norm's running statistics are each
    client's own: neither sent nor part of u_k or of any distance.
    """
    method = role_method(task, [("personal", (".",))])
    parameters = [path for path in method.roles if not path.startswith(STATISTICS)]

    def init(key: jax.Array, ids: jax.Array) -> State:
        state = method.init(key, ids)
        return state._replace(rows={**state.rows, **{CLOUD + path: state.rows[path] for path in parameters}})

    def combine(state: State, w: Leaves, counts: jax.Array) -> Leaves:
        xi = attention(settings, squared_distances(w), counts)
        return {CLOUD + path: jnp.tensordot(xi, leaf, 1, precision=PRECISION) for path, leaf in w.items()}

    work = _work(task, method, settings.penalty / settings.alpha)
    mix = Mix(combine, up=tuple(parameters), down=(CLOUD,))
    return method._replace(init=init, work=work, mix=mix, only_training=(CLOUD,))


def squared_distances(models: Leaves) -> jax.Array:
    """[K, K] of K models {path: [K, ...]}, from their differences: products would leave them to rounding."""

    def to_all(one: Leaves) -> jax.Array:
        away = (models[path] - leaf for path, leaf in one.items())
        return sum((jnp.sum(d.reshape(len(d), -1) ** 2, -1) for d in away), jnp.zeros(()))

    return jax.lax.map(to_all, models)


def attention(settings: config.FedAMP, squared: jax.Array, counts: jax.Array) -> jax.Array:
    """xi [K, K]: alpha A'(|w_i - w_j|^2) for the others that count, and for oneself what is left of 1."""
    others = counts[None, :] & ~jnp.eye(len(counts), dtype=bool)
    slope = jnp.exp(-squared / settings.sigma) / settings.sigma
    xi = jnp.where(others, settings.alpha * slope, 0.0)
    return xi + jnp.diag(1.0 - xi.sum(-1))


def _work(task: Task, method: Method, penalty: float) -> ClientWork:
    steps = local_training(task, method.roles, held_near_shared(penalty))

    def start(shared: Leaves, row: Row, key: jax.Array) -> Carry:
        w = {path: row.leaves[path] for path in method.roles}
        return steps.start({}, row._replace(leaves={**w, **_cloud(row)}), key)

    def step(shared: Leaves, row: Row, carry: Carry, batch: Batch, key: jax.Array) -> Carry:
        return steps.step(_cloud(row), row, carry, batch, key)[0]

    def finish(shared: Leaves, row: Row, carry: Carry) -> tuple[Upload, Kept]:
        return steps.finish({}, row, carry)

    return ClientWork(start, step, finish)


def _cloud(row: Row) -> Leaves:
    """u_k by the model's paths."""
    return {path.removeprefix(CLOUD): leaf for path, leaf in row.leaves.items() if path.startswith(CLOUD)}
