"""The recipes along CIFAR-100's superclasses."""

import numpy as np
import pytest
from partition_cases import assert_covers, balanced, dataset

from fedtp_jax import config as cfg
from fedtp_jax.partitions.make import make_partition
from fedtp_jax.partitions.recipes import draw
from fedtp_jax.partitions.superclass import FINE_LABELS


def of_superclass(counts):
    """[N, 20, 5] from class counts [N, 100]."""
    return counts[:, np.array(FINE_LABELS)]


@pytest.mark.parametrize("clients", [20, 23, 97, 100, 500])
def test_superclass_counts(clients):
    data = balanced(50_000, 10_000, 100)
    for seed in range(2):
        partition = make_partition(cfg.Superclass(clients=clients), data, seed)
        assert_covers(partition, data)
        train, test = (
            of_superclass(shards.class_counts(split.y, 100))
            for shards, split in zip(partition[:2], (data.train, data.test), strict=True)
        )
        held = train.any(axis=2)
        np.testing.assert_array_equal(held.sum(1), 1)
        assert np.ptp(held.sum(0)) <= 1
        for counts in (train, test):
            np.testing.assert_array_equal(counts.any(axis=2), held)
            for coarse in range(20):
                own = counts[held[:, coarse], coarse]
                assert np.ptp(own, axis=0).max() <= 1
                assert own.min() > 0


def test_superclasses_are_dealt_at_random():
    data = balanced(10_000, 2_000, 100)
    held = [
        of_superclass(
            make_partition(cfg.Superclass(clients=30), data, seed).train.class_counts(data.train.y, 100)
        )
        .any(axis=2)
        .argmax(axis=1)
        for seed in range(4)
    ]
    assert len({tuple(one) for one in held}) == 4
    assert len({tuple(np.bincount(one)) for one in held}) == 4, "other superclasses have two holders"


@pytest.mark.parametrize(
    "clients, alpha, beta",
    [
        (1, 0.3, 10.0),
        (20, 0.3, 10.0),
        (97, 0.3, 10.0),
        (100, 1e-300, 1e-6),
        (100, 1e6, 1e6),
        (500, 0.3, 1e-6),
        (6000, 0.3, 10.0),
    ],
)
def test_pachinko_shares(clients, alpha, beta):
    data = balanced(6_000, 1_300, 100)
    for seed in range(3 if clients < 1000 else 1):
        partition = make_partition(cfg.Pachinko(clients, alpha, beta), data, seed)
        assert_covers(partition, data)
        assert np.ptp(partition.train.sizes) <= 1
        train = partition.train.class_counts(data.train.y, 100)
        test = partition.test.class_counts(data.test.y, 100)
        assert np.abs(test - train * 13 / 60).max() < 1


def test_pachinko_of_unequal_classes():
    rng = np.random.default_rng(0)
    y = np.concatenate([np.arange(100), (100 * rng.random(5000) ** 3).astype(int)])
    y_test = np.concatenate([np.full(400, 7), np.arange(50)])
    data = dataset(rng.permutation(y), y_test)
    partition = make_partition(cfg.Pachinko(clients=37), data, seed=0)
    assert_covers(partition, data)
    assert np.ptp(partition.train.sizes) <= 1


def test_pachinko_spreads_about_as_the_authors_recipe():
    """At beta 0.3 and 100 clients theirs gives 8 to 75 classes, mean 53; 2 to 19 superclasses, mean 13.7."""
    data = balanced(50_000, 10_000, 100)
    for seed in range(3):
        train = make_partition(cfg.Pachinko(clients=100), data, seed).train.class_counts(data.train.y, 100)
        classes, superclasses = (train > 0).sum(1), of_superclass(train).any(axis=2).sum(1)
        assert classes.mean() == pytest.approx(53, abs=4)
        assert superclasses.mean() == pytest.approx(13.7, abs=1)
        assert classes.min() < 25 and 70 < classes.max() < 90
        assert superclasses.min() < 8 and superclasses.max() >= 17


def test_pachinko_spread_follows_alpha_and_beta():
    data = balanced(50_000, 10_000, 100)

    def spread(**settings):
        config = cfg.Pachinko(clients=100, **settings)
        train = make_partition(config, data, seed=0).train.class_counts(data.train.y, 100)
        return (train > 0).sum(1).mean(), of_superclass(train).any(axis=2).sum(1).mean()

    assert spread(alpha=1e-6, beta=1e3) == pytest.approx((5, 1), abs=0.2)
    assert spread(alpha=1e6, beta=1e6) == pytest.approx((100, 20), abs=4)
    classes, superclasses = spread(alpha=1e6, beta=1e-3)
    assert classes < 35 and superclasses > 18


def test_pachinko_draws_as_one_by_one():
    """Batches have the distribution of single draws that renormalise whenever something is used up."""
    rng = np.random.default_rng(0)
    weights, left = np.array([0.6, 0.3, 0.1, 0.0]), np.array([3, 4, 2, 5])

    def one_by_one():
        taken = np.zeros(4, int)
        for _ in range(8):
            p = np.where(taken < left, weights, 0)
            taken[rng.choice(4, p=p / p.sum())] += 1
        return taken

    with np.errstate(divide="ignore"):
        logs = np.log(weights)
    batch = draw(rng, np.full(20_000, 8), np.tile(logs, (20_000, 1)), np.tile(left, (20_000, 1)))
    single = np.array([one_by_one() for _ in range(4_000)])
    np.testing.assert_array_equal(batch.sum(1), 8)
    np.testing.assert_allclose(batch.mean(0), single.mean(0), atol=0.05)
    np.testing.assert_allclose(np.cov(batch.T), np.cov(single.T), atol=0.05)
