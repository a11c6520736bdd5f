"""Partitions: our own recipes by their properties, groups as clients, and what is refused."""

import numpy as np
import pytest
from partition_cases import OWN, assert_covers, assert_refuses, balanced, dataset, lists

from fedtp_jax import config as cfg
from fedtp_jax.core.errors import UserError
from fedtp_jax.partitions.make import make_partition

HUNDRED = ("superclass", "pachinko")  # recipes for CIFAR-100's classes


@pytest.mark.parametrize("name", OWN)
def test_own_recipe_gives_every_example_once_and_follows_its_seed(name):
    data, config = balanced(6000, 1200, 100) if name in HUNDRED else balanced(), OWN[name]
    partition = make_partition(config, data, seed=1)
    assert partition.num_clients == config.clients
    assert_covers(partition, data)
    assert lists(make_partition(config, data, seed=1)) == lists(partition)
    assert lists(make_partition(config, data, seed=2)) != lists(partition)
    fixed = type(config)(**{**vars(config), "seed": 1})
    assert lists(make_partition(fixed, data, seed=2)) == lists(partition)


@pytest.mark.parametrize("clients", [1, 7, 150, 1000])
def test_iid_shares_are_equal(clients):
    data = balanced()
    for shards in make_partition(cfg.Iid(clients=clients), data, seed=0)[:2]:
        assert np.ptp(shards.sizes) <= 1


def test_dirichlet_redraws_until_min_size_and_test_mirrors_train():
    data = balanced(10_000, 5_000)
    first = make_partition(cfg.Dirichlet(clients=10, alpha=0.3, min_size=0), data, seed=0)
    smallest = int(first.train.sizes.min())
    again = make_partition(cfg.Dirichlet(clients=10, alpha=0.3, min_size=smallest + 1), data, seed=0)
    assert again.train.sizes.min() > smallest
    train = again.train.class_counts(data.train.y, 10)
    test = again.test.class_counts(data.test.y, 10)
    # Two cuts bound a share, each rounded by at most half an example: 1 in test, 1 / 2 from train.
    assert np.abs(train / 2 - test).max() <= 1.5


def test_dirichlet_spread_follows_alpha():
    data = balanced(10_000, 1_000)
    spread = []
    for alpha in (0.1, 1.0, 1000.0):
        partition = make_partition(cfg.Dirichlet(clients=10, alpha=alpha, min_size=0), data, seed=0)
        shares = partition.train.class_counts(data.train.y, 10) / 1000
        spread.append(shares.std())
    # The variance of one share is (1/N)(1 - 1/N) / (alpha N + 1).
    np.testing.assert_allclose(spread, [np.sqrt(0.09 / (10 * a + 1)) for a in (0.1, 1.0, 1000.0)], rtol=0.25)


@pytest.mark.parametrize(
    "clients, per_client, classes",
    [(20, 2, 10), (7, 3, 10), (5, 2, 10), (4, 10, 10), (10, 1, 10), (33, 7, 9), (11, 5, 8), (3, 4, 5)],
)
def test_pathological_counts(clients, per_client, classes):
    data = balanced(classes * 60, classes * 12, classes)
    partition = make_partition(cfg.Pathological(clients, per_client), data, seed=3)
    assert_covers(partition, data)
    train = partition.train.class_counts(data.train.y, classes)
    test = partition.test.class_counts(data.test.y, classes)
    np.testing.assert_array_equal((train > 0).sum(1), per_client)
    assert np.ptp((train > 0).sum(0)) <= 1
    assert not np.any(test[train == 0])
    for counts in (train, test):
        for label in range(classes):
            assert np.ptp(counts[train[:, label] > 0, label]) <= 1


def test_pathological_pairs_of_classes_vary():
    data = balanced(5000)
    counts = make_partition(cfg.Pathological(200, 2), data, seed=0).train.class_counts(data.train.y, 10)
    pairs = {tuple(np.flatnonzero(row)) for row in counts}
    assert len(pairs) > 40  # of 45


@pytest.mark.parametrize(
    "clients, alpha, min_size",
    [(7, 1.0, 10), (7, 1e-6, 0), (97, 1e-6, 10), (97, 1e6, 10), (100, 0.5, 10), (1, 1.0, 10), (997, 1.0, 0)],
)
def test_quantity_sizes(clients, alpha, min_size):
    data = balanced(1000, 211)
    for seed in range(3):
        partition = make_partition(cfg.Quantity(clients, alpha, min_size), data, seed)
        assert_covers(partition, data)
        assert partition.train.sizes.min() >= min_size
        assert np.abs(partition.test.sizes - partition.train.sizes * 0.211).max() < 1
    if alpha == 1e-6:
        assert partition.train.sizes.max() > min_size + 0.9 * (1000 - clients * min_size), (
            "nearly all is one's"
        )
    if alpha == 1e6:
        assert np.ptp(partition.train.sizes) <= 2


def test_quantity_shares_follow_alpha_and_labels_are_alike():
    data = balanced(100_000, 1_000)
    for alpha in (0.5, 5.0):
        train = make_partition(cfg.Quantity(clients=400, alpha=alpha, min_size=50), data, seed=0).train
        # N - 1 of N times the variance of N p, p ~ Dirichlet(alpha * 1_N), is about 1 / alpha.
        assert np.std((train.sizes - 50) / 200) == pytest.approx(alpha**-0.5, rel=0.15)
    counts = make_partition(cfg.Quantity(clients=10, min_size=5000), data, seed=0).train.class_counts(
        data.train.y, 10
    )
    np.testing.assert_allclose(counts / counts.sum(1, keepdims=True), 0.1, atol=0.02)


def test_feature_noise_is_iid_with_noise_that_grows_from_client_to_client():
    data = balanced()
    partition = make_partition(cfg.FeatureNoise(clients=5, noise=2.0), data, seed=3)
    assert lists(partition) == lists(make_partition(cfg.Iid(clients=5), data, seed=3))
    assert partition.noise.dtype == np.float32
    assert partition.noise.tolist() == [0, 0.5, 1, 1.5, 2]
    assert make_partition(cfg.FeatureNoise(clients=1), data, seed=3).noise.tolist() == [0]
    assert make_partition(cfg.Iid(clients=5), data, seed=3).noise is None


def test_noise_enters_the_fingerprint():
    data = balanced()
    prints = {
        make_partition(config, data, seed=0).fingerprint()
        for config in (
            cfg.Iid(5),
            cfg.FeatureNoise(5, 0.0),
            cfg.FeatureNoise(5, 1.0),
            cfg.FeatureNoise(5, 2.0),
        )
    }
    assert len(prints) == 4


def test_fingerprints_stay_what_they_are():
    data = dataset([0, 1, 0, 1], [0, 1], np.array([1, 0, 1, 0]), np.array([1, 0]))
    assert make_partition(cfg.Natural(), data, seed=0).fingerprint() == "ff464457450b7386"


@pytest.mark.parametrize(
    "noise, pattern",
    [
        ([0, 1, 2], r"noise of shape \(3,\) for 2 clients"),
        ([[0, 1]], r"noise of shape \(1, 2\) for 2 clients"),
        ([0, -1], r"partition.noise: client 1 gets noise of std -1.0; choose a finite"),
        ([np.nan, 1], r"client 0 gets noise of std nan"),
        ([0, np.inf], r"client 1 gets noise of std inf"),
    ],
)
def test_unlawful_noise_is_refused(noise, pattern):
    data = balanced()
    partition = make_partition(cfg.Iid(clients=2), data, seed=0)
    with pytest.raises(UserError, match=pattern):
        partition._replace(noise=np.array(noise, np.float32)).check(data)


def test_natural_follows_the_groups():
    data = dataset([0, 1, 0, 1], [0, 1], np.array([2, 0, 2, 0]), np.array([1, 0]))
    assert lists(make_partition(cfg.Natural(), data, seed=0)) == [[[1, 3], [], [0, 2]], [[1], [0], []]]


@pytest.mark.parametrize(
    "config",
    [
        cfg.Iid(clients=100_000),
        cfg.Dirichlet(clients=100_000, min_size=0),
        cfg.Quantity(clients=100_000, min_size=1),
        cfg.FeatureNoise(clients=100_000),
    ],
    ids=["iid", "dirichlet", "quantity", "feature_noise"],
)
def test_hundred_thousand_clients(config):
    data = balanced(200_000, 20_000)
    partition = make_partition(config, data, seed=0)
    assert partition.num_clients == 100_000
    assert_covers(partition, data)


@pytest.mark.parametrize(
    "config, data, patterns",
    [
        (
            cfg.Iid(clients=1001),
            balanced(),
            [r"1001 clients", r"only 1000 train examples", r"to 1000 or less"],
        ),
        (cfg.Dirichlet(clients=1001), balanced(), [r"only 1000 train examples"]),
        (cfg.Pathological(clients=1001), balanced(), [r"only 1000 train examples"]),
        (cfg.Dirichlet(clients=20, min_size=51), balanced(), [r"need 1020 train examples", r"toy has 1000"]),
        (
            cfg.Dirichlet(clients=20, alpha=0.1, min_size=45),
            balanced(),
            [
                r"no draw in 100 gave every client 45",
                r"smallest shard was \d+ at best",
                r"Raise partition.alpha",
            ],
        ),
        (cfg.Dirichlet(alpha=float("inf")), balanced(), [r"partition.alpha", r"between 1e-3 and 1e6"]),
        (cfg.Pathological(classes_per_client=11), balanced(), [r"11 classes a client", r"only 10 classes"]),
        (
            cfg.Pathological(clients=4),
            balanced(),
            [r"4 clients with 2 classes", r"to nobody", r"to 5 or more"],
        ),
        (
            cfg.Pathological(clients=600),
            balanced(),
            [r"120 clients hold class 0", r"only 100 train examples"],
        ),
        (cfg.Quantity(clients=101), balanced(), [r"need 1010 train examples", r"lower partition.min_size"]),
        (cfg.Quantity(alpha=float("inf")), balanced(), [r"partition.alpha", r"between 1e-3 and 1e6"]),
        (
            cfg.Sampled(train_examples=1001),
            balanced(),
            [
                r"partition.train_examples: 1001 for each client, but toy has only 1000 train",
                r"to 1000 or less",
            ],
        ),
        (
            cfg.Sampled(test_examples=3),
            dataset([0] * 20 + [2], [0, 1, 2]),
            [r"partition.test_examples: 3 for each client, but toy has only 2 test", r"to 2 or less"],
        ),
        (cfg.Sampled(alpha=float("inf")), balanced(), [r"partition.alpha", r"between 1e-3 and 1e6"]),
        (cfg.FeatureNoise(noise=1e39), balanced(), [r"partition.noise: client 7 .* std inf"]),
        (
            cfg.Superclass(),
            balanced(),
            [r"superclass: made for CIFAR-100's 100 classes", r"toy has 10 classes"],
        ),
        (
            cfg.Superclass(clients=19),
            balanced(5000, 1000, 100),
            [r"partition.clients: 19 clients", r"20 superclasses to nobody", r"clients to 20 or more"],
        ),
        (
            cfg.Superclass(clients=300),
            balanced(1000, 200, 100),
            [r"15 clients hold class 0", r"only 10 train examples", r"lower partition.clients"],
        ),
        (cfg.Pachinko(), balanced(), [r"pachinko: made for CIFAR-100's 100 classes", r"toy has 10 classes"]),
        (cfg.Pachinko(clients=5001), balanced(5000, 1000, 100), [r"5001 clients", r"only 5000 train"]),
        (cfg.Pachinko(alpha=float("inf")), balanced(5000, 1000, 100), [r"partition.alpha: Dirichlet\(inf"]),
        (cfg.Pachinko(beta=1e-320), balanced(5000, 1000, 100), [r"partition.beta: .* between 1e-3 and 1e6"]),
        (
            cfg.Pachinko(),
            dataset([*range(30), *range(31, 100)], [30, 30, 1]),
            [r"toy has 2 test but no train examples of class 30"],
        ),
        (cfg.Natural(), balanced(), [r"does not say which group each train example"]),
        (cfg.Natural(), dataset([0, 1], [0], np.array([0, 1])), [r"which group each test example"]),
        (
            cfg.Natural(),
            dataset([0, 1], [0], np.array([0, 3]), np.array([0])),
            [r"2 groups of toy are numbered 0 to 3", r"without gaps"],
        ),
        (cfg.PartitionFile(), balanced(), [r"partition.file: no file given"]),
        (cfg.PartitionFile("absent.json"), balanced(), [r"no file absent.json"]),
        (cfg.PartitionFile("absent.npz"), balanced(), [r"no file absent.npz"]),
    ],
)
def test_own_recipe_refuses(config, data, patterns):
    assert_refuses(config, data, *patterns)
