"""FedProto: clients keep their models and share the mean features of each class.

Tan, Long, Liu, Zhou, Lu, Jiang, Zhang: FedProto: Federated Prototype Learning across Heterogeneous Clients.
AAAI 2022, arXiv 2105.00243, algorithm 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.learning.local_training import Carry, local_training
from fedtp_jax.learning.method import Kept, Method, State, Upload
from fedtp_jax.learning.roles import role_method
from fedtp_jax.learning.task import Output, Task, masked_mean

PROTOTYPES = "prototypes/mean"  # [C, F], zero where nobody has the class
CLIENTS = "prototypes/clients"  # [C] how many clients' means it is made of


class _Carry(NamedTuple):
    trained: Carry
    sums: jax.Array  # [C, F] features of the last pass, by class
    counts: jax.Array  # [C] int32: float32 would count to 2^24


def fedproto(settings: config.FedProto, task: Task) -> Method:
    """Local loss + weight * |prototype of the class - features|^2; the nearest prototype is the prediction.

    Every model starts from common initial values. A class that no client of a cohort has keeps its prototype;
    one that has none yet is never predicted: it counts as 1 farther than the farthest, which keeps the test
    loss finite.
    """
    task.check_classes("method fedproto", "predicts by a prototype of each class")
    size = task.feature_size("method fedproto")
    method = role_method(task, [("personal", (".",))])
    nobody = {PROTOTYPES: jnp.zeros((task.num_classes, size)), CLIENTS: jnp.zeros(task.num_classes)}

    def init(key: jax.Array, ids: jax.Array) -> State:
        return method.init(key, ids)._replace(shared=nobody)

    def aggregate(state: State, upload: Upload, gradient: Leaves) -> State:
        """The mean of the clients' prototypes, every client that has the class counting once."""
        clients = upload.shared[CLIENTS]
        mean = upload.shared[PROTOTYPES] / jnp.maximum(clients, 1.0)[:, None]
        known = clients > 0
        shared = {
            PROTOTYPES: jnp.where(known[:, None], mean, state.shared[PROTOTYPES]),
            CLIENTS: jnp.where(known, clients, state.shared[CLIENTS]),
        }
        return state._replace(shared=shared)

    def predict(
        leaves: Leaves, x: jax.Array, mask: jax.Array | None = None, key: jax.Array | None = None
    ) -> Output:
        output = task.forward(leaves, x, mask, key)
        known = leaves[CLIENTS] > 0
        distances = prototype_distances(output.features, leaves)
        farthest = jnp.max(jnp.where(known, distances, 0.0), axis=-1, keepdims=True)
        return output._replace(logits=-jnp.where(known, distances, farthest + 1.0))

    work = _prototype_work(task, method, settings.weight)
    return method._replace(init=init, work=work, aggregate=aggregate, predict=predict)


def prototype_distances(features: jax.Array, leaves: Leaves) -> jax.Array:
    """[B, C] mean squared distances of features [B, F] to the prototypes; infinite to unknown ones."""
    distances = jnp.mean((features[:, None] - leaves[PROTOTYPES]) ** 2, axis=-1)
    return jnp.where(leaves[CLIENTS] > 0, distances, jnp.inf)


def _prototype_work(task: Task, method: Method, weight: float) -> ClientWork:
    def objective(
        task: Task, output: Output, leaves: Leaves, shared: Leaves, row: Row, batch: Batch
    ) -> jax.Array:
        known = (shared[CLIENTS] > 0)[batch.y]
        pull = jnp.where(known[:, None], shared[PROTOTYPES][batch.y] - output.features, 0.0)
        return task.loss(output.logits, batch) + weight * masked_mean(pull**2, batch.mask)

    steps = local_training(task, method.roles, objective)

    def start(shared: Leaves, row: Row, key: jax.Array) -> _Carry:
        empty = jnp.zeros_like(shared[PROTOTYPES]), jnp.zeros(shared[CLIENTS].shape, jnp.int32)
        return _Carry(steps.start({}, row, key), *empty)

    def step(shared: Leaves, row: Row, carry: _Carry, batch: Batch, key: jax.Array) -> _Carry:
        trained, output = steps.step(shared, row, carry.trained, batch, key)
        counted = jnp.where(batch.step >= row.facts.last_pass, batch.mask, 0.0)
        classes = jax.nn.one_hot(batch.y, len(carry.counts)) * counted[:, None]
        counts = carry.counts + classes.sum(0).astype(jnp.int32)
        return _Carry(trained, carry.sums + classes.T @ output.features, counts)

    def finish(shared: Leaves, row: Row, carry: _Carry) -> tuple[Upload, Kept]:
        upload, kept = steps.finish({}, row, carry.trained)
        has = (carry.counts > 0) & (kept.excluded == 0)
        mean = carry.sums / jnp.maximum(carry.counts.astype(jnp.float32), 1.0)[:, None]
        sums = {PROTOTYPES: jnp.where(has[:, None], mean, 0.0), CLIENTS: has.astype(jnp.float32)}
        return upload._replace(shared=sums), kept

    return ClientWork(start, step, finish)
