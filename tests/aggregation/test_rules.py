"""Rules for the changes of a few clients, beside loops that read like their papers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from fedtp_jax import config
from fedtp_jax.aggregation.changes_apart import rule_of
from fedtp_jax.simulation.held_changes import HeldChanges


def made_of(settings, changes, weights=None, room=0):
    """What a rule makes of changes [n, c], in tables with `room` for more clients."""
    n = len(changes)
    rule = rule_of(settings)
    padded = np.pad(changes.astype(np.float32), ((0, room), (0, 0)))
    count = np.int32(n)
    if rule.entries:
        return np.asarray(jax.jit(rule.entries)(padded, count))
    distances = HeldChanges._distances(
        None, np.zeros((n + room,) * 2, np.float32), jnp.asarray(padded), count
    )
    weights = np.pad(np.full(n, 1 / n) if weights is None else weights, (0, room)).astype(np.float32)
    shares = np.asarray(jax.jit(rule.weights)(distances, weights, count))
    assert shares.sum() == pytest.approx(1) and not shares[n:].any()
    return shares @ padded


def drawn(n, entries=7, seed=0):
    return np.random.default_rng(seed).normal(size=(n, entries))


@pytest.mark.parametrize(("n", "room"), [*itertools.product([1, 2, 5, 8], [0, 3])])
def test_the_median(n, room):
    changes = drawn(n)
    np.testing.assert_allclose(made_of(config.Median(), changes, room=room), np.median(changes, 0), atol=1e-6)


@pytest.mark.parametrize(("share", "n"), [*itertools.product([0, 0.1, 0.2, 0.3, 0.45], [1, 3, 10, 20])])
def test_the_trimmed_mean(share, n):
    changes = drawn(n)
    found = made_of(config.TrimmedMean(share=share), changes, room=2)
    np.testing.assert_allclose(found, stats.trim_mean(changes, share), atol=1e-6)


def krum(changes, attackers, selected):
    n, scores = len(changes), []
    for i in range(n):
        others = sorted(float(np.sum((changes[i] - changes[j]) ** 2)) for j in range(n) if j != i)
        scores.append(sum(others[: max(n - attackers - 2, 1)]))
    return changes[np.argsort(scores)[:selected]].mean(0)


@pytest.mark.parametrize(
    ("n", "attackers", "selected"), [(5, 1, 1), (9, 3, 1), (9, 2, 4), (3, 0, 3), (4, 1, 2)]
)
def test_krum(n, attackers, selected):
    for seed in range(5):
        changes = drawn(n, seed=seed)
        settings = config.Krum(attackers=attackers, selected=selected)
        np.testing.assert_allclose(
            made_of(settings, changes, room=seed), krum(changes, attackers, selected), atol=1e-6
        )


def test_krum_by_default_stands_the_most():
    changes = drawn(9)
    np.testing.assert_allclose(made_of(config.Krum(), changes), krum(changes, 3, 1), atol=1e-6)


def test_krum_of_fewer_than_were_asked():
    for n in (1, 2):
        found = made_of(config.Krum(attackers=2, selected=3), drawn(n), room=5)
        np.testing.assert_allclose(found, drawn(n).mean(0), atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_geometric_median_is_the_point_of_least_summed_distance(weighted):
    changes = drawn(7, 3)
    weights = np.random.default_rng(1).dirichlet(np.ones(7)) if weighted else np.full(7, 1 / 7)

    def summed(z):
        return float((weights * np.linalg.norm(changes - z, axis=1)).sum())

    least = optimize.minimize(summed, changes.mean(0), method="Nelder-Mead", options={"xatol": 1e-8}).x
    found = made_of(config.GeometricMedian(), changes, weights, room=2)
    np.testing.assert_allclose(found, least, atol=1e-3)


ROBUST = [
    config.Median(),
    config.TrimmedMean(share=0.3),
    config.Krum(attackers=3),
    config.GeometricMedian(),
]


@pytest.mark.parametrize("settings", ROBUST, ids=lambda one: type(one).__name__)
def test_a_few_who_send_anything_hardly_move_it(settings):
    honest = 1 + 0.1 * drawn(7)
    for size in (1e2, 1e6, 1e12):
        changes = np.concatenate([honest, np.full((3, 7), size)])
        assert np.abs(made_of(settings, changes) - 1).max() < 0.5
    assert np.abs(changes.mean(0) - 1).max() > 1e5


def test_a_share_just_below_a_half_leaves_the_middle():
    for n in (2, 4, 10):
        found = made_of(config.TrimmedMean(share=0.4999), drawn(n))
        np.testing.assert_allclose(found, np.median(drawn(n), 0), atol=1e-6)


@pytest.mark.parametrize("settings", ROBUST, ids=lambda one: type(one).__name__)
def test_of_equal_changes_it_is_that_change(settings):
    changes = np.repeat(drawn(1), 6, axis=0)
    np.testing.assert_allclose(made_of(settings, changes, room=1), changes[0], atol=1e-6)
