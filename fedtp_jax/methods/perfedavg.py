"""Per-FedAvg, first order: the shared model is trained to be good after one step at each client.

Fallah, Mokhtari, Ozdaglar: Personalized Federated Learning with Theoretical Guarantees: A Model-Agnostic
Meta-Learning Approach. NeurIPS 2020, arXiv 2002.07948, algorithm 1 with the first-order approximation
("FO" in its section 5). Its beta is training.learning_rate. There is no code of the authors.
"""

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.learning.local_training import Carry, local_training
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.roles import role_method
from fedtp_jax.learning.task import Task

INNER = 2  # word that parts the key of the inner step's dropout from that of the outer one's


def perfedavg(settings: config.PerFedAvg, task: Task) -> Method:
    """Per batch u = w - alpha * grad loss(w; its first half), then w -= beta * grad loss(u; its second half).

    The inner step is plain SGD without decay; the outer one is that of training.optimizer. Of an odd number
    of examples the outer step has one more, a single example is its alone. The shared model is evaluated as
    it is: the step at each client, for which it was trained, is evaluation.adapt's.
    """
    method = role_method(task, [("shared", (".",))])
    local = local_training(task, method.roles)
    inner = settings.inner_learning_rate
    alpha = task.training.learning_rate if inner is None else inner

    def step(shared: Leaves, row: Row, carry: Carry, batch: Batch, key: jax.Array) -> Carry:
        inner, outer = halves(batch)
        there = jax.random.fold_in(key, INNER)
        _, _, gradient = local.gradient(shared, row, carry.leaves, inner, there)
        moved = {path: carry.leaves[path] - alpha * g for path, g in gradient.items()}
        found = local.gradient(shared, row, {**carry.leaves, **moved}, outer, key)
        return local.move(shared, row, carry, batch, *found)

    return method._replace(work=ClientWork(local.start, step, local.finish))


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """The first n // 2 of a batch's n real examples, and the others, in batches of half the size."""
    places = jnp.arange(-(-len(batch.mask) // 2))
    count = jnp.sum(batch.mask).astype(jnp.int32)
    first = count // 2

    def part(begin: jax.Array | int, size: jax.Array) -> Batch:
        x, y, positions = (
            jnp.take(of, begin + places, axis=0, mode="clip") for of in (batch.x, batch.y, batch.positions)
        )
        return Batch(x, y, (places < size).astype(batch.mask.dtype), batch.step, positions)

    return part(0, first), part(first, count - first)
