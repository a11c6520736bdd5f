"""Nearest neighbours beside any method's prediction: FedTP+KNN.

Khandelwal, Levy, Jurafsky, Zettlemoyer, Lewis: Generalization through Memorization: Nearest Neighbor Language
Models. ICLR 2020, arXiv 1911.00172; at clients: Marfoq, Neglia, Vidal, Kameni, arXiv 2111.09360; with FedTP:
Li et al., arXiv 2211.01572, section III.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedtp_jax.config import Knn
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.evaluation.metrics import Score, Scoring
from fedtp_jax.learning.task import Output

REFERENCE_SCALE = 128.0  # what the authors' code divides squared distances by, whatever the features' size


class Store(NamedTuple):
    """A client's memory: features [S, F], their labels [S], and which of them are there [S]."""

    features: jax.Array
    labels: jax.Array
    filled: jax.Array


def neighbor_work(
    predict: Callable[[Leaves, jax.Array], Output],
    scoring: Scoring,
    settings: Knn,
    capacity: int,
    features: int,
    scale: float | None = None,
) -> ClientWork:
    """Fill the store with the client's train examples (all passes but the last), then predict its test ones.

    `capacity` is the size of the largest store, `features` the size of a feature vector, `scale` what squared
    distances are divided by: by default that size.
    """

    def start(shared: Leaves, row: Row, key: jax.Array) -> tuple[Store, Score]:
        store = Store(
            jnp.zeros((capacity, features)), jnp.zeros(capacity, jnp.int32), jnp.zeros(capacity, bool)
        )
        return store, scoring.zero()

    def step(
        shared: Leaves, row: Row, carry: tuple[Store, Score], batch: Batch, key: jax.Array
    ) -> tuple[Store, Score]:
        store, score = carry
        output = predict({**shared, **row.leaves}, batch.x)
        keeps = (batch.step < row.facts.last_pass) & (batch.mask > 0)
        place = jnp.where(keeps, batch.step * len(keeps) + jnp.arange(len(keeps)), capacity)
        new = Store(
            store.features.at[place].set(output.features, mode="drop"),
            store.labels.at[place].set(batch.y, mode="drop"),
            store.filled.at[place].set(True, mode="drop"),
        )
        tested = batch._replace(mask=jnp.where(batch.step < row.facts.last_pass, 0.0, batch.mask))
        logits = mix_with_neighbors(output, store, settings, scale or float(features))
        return new, scoring.add(score, logits, tested)

    def finish(shared: Leaves, row: Row, carry: tuple[Store, Score]) -> tuple[None, Score]:
        return None, carry[1]

    return ClientWork(start, step, finish)


def mix_with_neighbors(output: Output, store: Store, settings: Knn, scale: float) -> jax.Array:
    """log(weight * p_knn + (1 - weight) * softmax(logits)) [B, classes].

    p_knn(c) is the share of class c among the nearest neighbours, each counting exp(-d^2 / scale); a client
    that keeps nothing predicts by its model alone.
    """
    model = jax.nn.softmax(output.logits)
    distances = jnp.where(store.filled, squared_distances(output.features, store.features), jnp.inf)
    near, index = jax.lax.top_k(-distances, min(settings.neighbors, len(store.labels)))
    # exp(-d^2 / scale), divided by their sum; beyond the nearest, since of large d^2 rounding would be left.
    # By max, though the nearest comes first: a slice of top_k makes XLA sort them all, 2.5 times as long.
    share = jax.nn.softmax((near - near.max(-1, keepdims=True)) / scale)
    classes = jax.nn.one_hot(store.labels[index], model.shape[-1])
    # a TPU would round the shares to bfloat16, a GPU to TF32
    neighbors = jnp.einsum("bk,bkc->bc", share, classes, precision="highest")
    mixed = settings.weight * neighbors + (1.0 - settings.weight) * model
    return jnp.log(jnp.where(store.filled.any(), mixed, model))


def squared_distances(a: jax.Array, b: jax.Array) -> jax.Array:
    """[B, S] |a_i - b_j|^2, of a [B, F] and b [S, F].

    By their differences, which the compiler sums without storing them. |a|^2 + |b|^2 - 2 a b, one matrix
    product, is quicker but no better than its largest term: of features that are alike it takes any.
    """
    return jnp.sum((a[:, None] - b) ** 2, -1)
