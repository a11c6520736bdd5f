"""FedPAC: features are held near all clients' class means, and each client has a mixture of all heads.

Xu, Tong, Huang: Personalized Federated Learning with Feature Alignment and Classifier Collaboration. ICLR
2023, arXiv 2306.11867, algorithm 1: alignment as in its section 4.1, collaboration as in 4.2.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.tree import Leaves, Role
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.learning.local_training import Carry, local_training
from fedtp_jax.learning.method import Kept, Method, Mix, State, Upload
from fedtp_jax.learning.roles import Rule, role_method, zeros
from fedtp_jax.learning.simplex import least_on_simplex
from fedtp_jax.learning.task import STATISTICS, Output, Task, masked_mean

CENTROIDS = "centroids/mean"  # [C, F] the classes' mean features, zero where nobody has shown the class
EXAMPLES = "centroids/examples"  # [C] how many examples they are means of
TOLD = "client/told/"  # before what a client's row holds for the server alone
MEANS = TOLD + "means"  # [C, F] h_k: the share of each class times its mean features
VARIANCE = TOLD + "variance"  # v_k, of the mean of its examples
HIGHEST = jax.lax.Precision.HIGHEST


class _Features(NamedTuple):
    """Of a pass: [C, F] sums by class, [C] int32 counts, and the sum of all squares."""

    sums: jax.Array
    counts: jax.Array
    squares: jax.Array


class _Carry(NamedTuple):
    trained: Carry
    first: _Features  # by the body as it was sent, which that pass does not train
    last: _Features


def fedpac(settings: config.FedPAC, task: Task) -> Method:
    """A pass for the head at a rate of its own; then passes for the body, on loss + lambda |f - centroid|^2.

    The body is shared. The server's centroids are means over all of the cohort's examples, in the last pass;
    a class that nobody has shown keeps its centroid, and pulls at nobody while it has none. Then client k's
    head becomes sum_j a_j head_j, with the a of the simplex that has the least
    sum_j a_j^2 v_j + |h_k - sum_j a_j h_j|^2, over the cohort's clients j that returned.

    Features are those of training, as each batch is trained on: h_k and v_k of the head's pass, in which the
    body is still as it was sent. The authors take six passes with batches of 50, learning rate .01, momentum
    .5 and decay 5e-4; all of their 20 clients take part.
    """
    task.check_classes("method fedpac", "pulls features to the centroid of their class")
    task, size = _checked(settings, task), task.feature_size("method fedpac")
    rules: list[Rule] = [("fixed", settings.fixed), ("personal", settings.personal), ("shared", (".",))]
    shape = (task.num_classes, size)
    method = role_method(task, rules, extra={MEANS: zeros(shape), VARIANCE: zeros(())})
    nobody = {CENTROIDS: jnp.zeros(shape), EXAMPLES: jnp.zeros(task.num_classes)}

    def init(key: jax.Array, ids: jax.Array) -> State:
        state = method.init(key, ids)
        return state._replace(shared={**state.shared, **nobody})

    def aggregate(state: State, upload: Upload, gradient: Leaves) -> State:
        model = {path: leaf for path, leaf in state.shared.items() if path not in nobody}
        sums = {path: leaf for path, leaf in upload.shared.items() if path not in nobody}
        new = method.aggregate(state._replace(shared=model), upload._replace(shared=sums), gradient)
        examples = upload.shared[EXAMPLES]
        mean = upload.shared[CENTROIDS] / jnp.maximum(examples, 1.0)[:, None]
        centroids = {
            CENTROIDS: jnp.where(examples[:, None] > 0, mean, state.shared[CENTROIDS]),
            EXAMPLES: jnp.where(examples > 0, examples, state.shared[EXAMPLES]),
        }
        return new._replace(shared={**new.shared, **centroids})

    def combine(state: State, rows: Leaves, counts: jax.Array) -> Leaves:
        weights = head_weights(rows[MEANS], rows[VARIANCE], counts)
        heads = {path: leaf for path, leaf in rows.items() if not path.startswith(TOLD)}
        return {path: jnp.tensordot(weights, leaf, 1, precision=HIGHEST) for path, leaf in heads.items()}

    work = _work(task, method, settings.weight)
    head = [path for path in tree.select(method.roles, method.roles, "personal") if not path.startswith(TOLD)]
    heads = tuple(path for path in head if not path.startswith(STATISTICS))  # running ones stay the client's
    mix = Mix(combine, up=(*heads, TOLD), down=heads)
    own = (CENTROIDS, EXAMPLES, TOLD)
    return method._replace(init=init, work=work, aggregate=aggregate, mix=mix, only_training=own)


def head_weights(means: jax.Array, variances: jax.Array, counts: jax.Array) -> jax.Array:
    """[K, K] whose row k is the a of client k, of h [K, C, F] and v [K]; 0 for those that do not count.

    As sum_j a_j is 1, a' D_k a with D_k[i, j] = <h_k - h_i, h_k - h_j> is |h_k - sum_j a_j h_j|^2, which is
    a' G a - 2 a' G_k and what does not depend on a, with G = <h_i, h_j> of any common origin.
    """
    h = jnp.where(counts[:, None], means.reshape(len(means), -1), 0.0)
    h = h - h.sum(0) / counts.astype(h.dtype).sum()  # or G would round what they differ in
    products = jnp.matmul(h, h.T, precision=HIGHEST)
    # v_k is never negative, but for rounding
    return least_on_simplex(products + jnp.diag(jnp.maximum(variances, 0.0)), products, counts)


def _checked(settings: config.FedPAC, task: Task) -> Task:
    """The task with the head's own learning rate; UserError for what FedPAC cannot be trained with."""
    training = task.training
    if training.local_steps is not None:
        raise UserError(
            f"training.local_steps: {training.local_steps}, but fedpac parts a round by passes; give "
            "training.local_epochs, 2 or more"
        )
    if training.local_epochs < 2:
        raise UserError(
            "training.local_epochs: 1, but fedpac trains the head in the first pass, so none would train the "
            "body; give more (the authors: 6)"
        )
    rates = training.role_learning_rates
    if rates.personal is not None:
        raise UserError(
            f"training.role_learning_rates.personal: {rates.personal}, but fedpac has a field for it; set "
            "method.head_learning_rate"
        )
    rates = dataclasses.replace(rates, personal=settings.head_learning_rate)
    return task._replace(training=dataclasses.replace(training, role_learning_rates=rates))


def _work(task: Task, method: Method, weight: float) -> ClientWork:
    def in_first_pass(row: Row, batch: Batch) -> jax.Array:
        # of who does less than a pass: what it does
        return batch.step < row.facts.steps - row.facts.last_pass

    def phase(row: Row, batch: Batch) -> Mapping[Role, jax.Array]:
        of_head = in_first_pass(row, batch)
        return {"personal": of_head, "shared": ~of_head}

    def objective(
        task: Task, output: Output, leaves: Leaves, shared: Leaves, row: Row, batch: Batch
    ) -> jax.Array:
        pulls = (shared[EXAMPLES] > 0)[batch.y] & ~in_first_pass(row, batch)
        away = jnp.where(pulls[:, None], output.features - shared[CENTROIDS][batch.y], 0.0)
        return task.loss(output.logits, batch) + weight * masked_mean(away**2, batch.mask)

    steps = local_training(task, method.roles, objective, phase=phase)

    def start(shared: Leaves, row: Row, key: jax.Array) -> _Carry:
        model = {path: leaf for path, leaf in shared.items() if path in method.roles}
        own = {path: leaf for path, leaf in row.leaves.items() if not path.startswith(TOLD)}
        sums, counts = jnp.zeros_like(shared[CENTROIDS]), jnp.zeros(shared[EXAMPLES].shape, jnp.int32)
        none = _Features(sums, counts, jnp.zeros(()))
        return _Carry(steps.start(model, row._replace(leaves=own), key), none, none)

    def step(shared: Leaves, row: Row, carry: _Carry, batch: Batch, key: jax.Array) -> _Carry:
        trained, output = steps.step(shared, row, carry.trained, batch, key)
        first = _add(carry.first, output, batch, in_first_pass(row, batch))
        return _Carry(trained, first, _add(carry.last, output, batch, batch.step >= row.facts.last_pass))

    def finish(shared: Leaves, row: Row, carry: _Carry) -> tuple[Upload, Kept]:
        examples = jnp.maximum(carry.first.counts.sum(), 1).astype(jnp.float32)
        means = carry.first.sums / examples
        told = {MEANS: means, VARIANCE: (carry.first.squares / examples - jnp.sum(means**2)) / examples}
        leaves = {**carry.trained.leaves, **told}
        upload, kept = steps.finish(shared, row, carry.trained._replace(leaves=leaves))
        good, last = kept.excluded == 0, carry.last
        sums = {CENTROIDS: jnp.where(good, last.sums, 0.0), EXAMPLES: jnp.where(good, last.counts, 0)}
        sums = {path: leaf.astype(jnp.float32) for path, leaf in sums.items()}
        return upload._replace(shared={**upload.shared, **sums}), kept

    return ClientWork(start, step, finish)


def _add(features: _Features, output: Output, batch: Batch, counts: jax.Array) -> _Features:
    """With those of a batch, if it `counts`."""
    mask = jnp.where(counts, batch.mask, 0.0)
    classes = jax.nn.one_hot(batch.y, len(features.counts)) * mask[:, None]
    squares = jnp.sum(jnp.where(mask > 0, jnp.sum(output.features**2, -1), 0.0))
    return _Features(
        features.sums + classes.T @ output.features,
        features.counts + classes.sum(0).astype(jnp.int32),
        features.squares + squares,
    )
