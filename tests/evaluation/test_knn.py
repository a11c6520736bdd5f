"""Nearest neighbours of features that are nearly alike, against all distances in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedtp_jax.config import Knn
from fedtp_jax.evaluation.knn import Store, mix_with_neighbors, squared_distances
from fedtp_jax.learning.task import Output

CLASSES, SIZE, TINY = 5, 6, 2.0**-10  # float32 holds offset + so many TINY for offsets up to 2^14
SETTINGS = Knn(weight=0.7, neighbors=7)
SCALE = 20 * TINY**2


def grid(random, count, offsets):
    """[count, SIZE] features some TINY away from the offsets in turn: many are at the same distance."""
    return np.float32(np.resize(offsets, (count, 1)) + TINY * random.integers(-2, 3, (count, SIZE)))


def expected(logits, features, store):
    """log(weight * p_knn + (1 - weight) * p_model), the earlier of two equally near ones first."""
    model = np.exp(logits - logits.max(-1, keepdims=True))
    model /= model.sum(-1, keepdims=True)
    there = np.flatnonzero(store.filled)
    if not len(there):
        return np.log(model)
    memory, labels = store.features[there].astype(np.float64), store.labels[there]
    mixed = (1 - SETTINGS.weight) * model
    for row, f in zip(mixed, features.astype(np.float64), strict=True):
        squared = ((f - memory) ** 2).sum(-1)
        near = np.argsort(squared, kind="stable")[: SETTINGS.neighbors]
        weight = np.exp(-(squared[near] - squared[near].min()) / SCALE)
        np.add.at(row, labels[near], SETTINGS.weight * weight / weight.sum())
    return np.log(mixed)


@pytest.mark.parametrize("offsets", [[0], [1e4], [-1e4, 3, 1e4]])
def test_neighbours_of_features_that_are_nearly_alike(offsets):
    """Four clients: a full store, one with gaps, one with fewer than are asked for, an empty one."""
    random = np.random.default_rng(0)
    filled = np.ones((4, 60), bool)
    filled[1], filled[2], filled[3] = random.random(60) < 0.6, np.arange(60) < 4, False
    features = np.stack([grid(random, 60, offsets) for _ in filled])
    features[:, 30:40] = features[:, :10]  # the same examples, most of them with other labels
    store = Store(features, random.integers(0, CLASSES, (4, 60)), filled)
    tested = np.stack([grid(random, 20, offsets) for _ in filled])
    logits = random.normal(size=(4, 20, CLASSES)).astype(np.float32)

    @jax.jit
    @jax.vmap
    def found(logits, features, store):
        return mix_with_neighbors(Output(logits, features, {}), store, SETTINGS, SCALE)

    actual = found(logits, tested, jax.tree.map(jnp.asarray, store))
    for client in range(4):
        own = Store(*(part[client] for part in store))
        np.testing.assert_allclose(actual[client], expected(logits[client], tested[client], own), atol=1e-5)


def test_distances_are_as_exact_as_float32():
    random = np.random.default_rng(1)
    a, b = (np.float32(1e4 + random.normal(size=(count, 64))) for count in (9, 30))
    squared = ((a[:, None].astype(np.float64) - b) ** 2).sum(-1)
    np.testing.assert_allclose(jax.jit(squared_distances)(a, b), squared, rtol=1e-6)


def test_a_store_smaller_than_the_neighbours_asked_for():
    random = np.random.default_rng(2)
    store = Store(grid(random, 3, [1e4]), np.array([0, 1, 1]), np.array([True, False, True]))
    features, logits = grid(random, 8, [1e4]), np.zeros((8, CLASSES), np.float32)
    features[7] = -1e4  # so far that float32 cannot tell which of the two is nearer

    @jax.jit
    def found(logits, features, store):
        return mix_with_neighbors(Output(logits, features, {}), store, SETTINGS, SCALE)

    actual = found(logits, features, jax.tree.map(jnp.asarray, store))
    np.testing.assert_allclose(actual[:7], expected(logits[:7], features[:7], store), atol=1e-5)
    assert float(jnp.exp(actual[7]).sum()) == pytest.approx(1, abs=1e-6)


def test_no_matrix_product_of_neighbours_is_rounded():
    """Whatever JAX takes by default, which on accelerators is less than float32."""
    store = Store(jnp.zeros((9, SIZE)), jnp.zeros(9, jnp.int32), jnp.ones(9, bool))
    output = Output(jnp.zeros((4, CLASSES)), jnp.zeros((4, SIZE)), {})
    with jax.default_matmul_precision("bfloat16"):
        traced = jax.make_jaxpr(lambda *given: mix_with_neighbors(*given, SETTINGS, SCALE))(output, store)
    products = [step for step in traced.eqns if step.primitive.name == "dot_general"]
    assert products
    assert all("HIGHEST" in str(step.params["precision"]) for step in products)
