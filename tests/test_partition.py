"""Partitions: the authors' recipes against golden values of their program, our own by their properties."""

import gzip
import hashlib
import json
import random
import re
from pathlib import Path

import numpy as np
import pytest

from fedtp_jax import config as cfg
from fedtp_jax.data.federated import Dataset, Examples
from fedtp_jax.data.partition import load, make_partition, save
from fedtp_jax.data.recipes import draw
from fedtp_jax.data.reference_partition import RECIPES
from fedtp_jax.data.superclass_recipes import FINE_LABELS
from fedtp_jax.errors import UserError

HERE = Path(__file__).parent
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # Debian's package
GOLDEN = (
    "cifar10/homo/n10",
    "cifar10/noniid-labeldir/n50",
    "cifar10/noniid-labeluni/n50",
    "cifar100/noniid-labeldir100/n100",
    "cifar100/iid-label100/n100",
)
OWN = {
    "iid": cfg.Iid(clients=7),
    "dirichlet": cfg.Dirichlet(clients=7, alpha=0.5, min_size=10),
    "pathological": cfg.Pathological(clients=7, classes_per_client=3),
    "quantity": cfg.Quantity(clients=7),
    "feature_noise": cfg.FeatureNoise(clients=7),
    "superclass": cfg.Superclass(clients=23),
    "pachinko": cfg.Pachinko(clients=7),
}
HUNDRED = ("superclass", "pachinko")  # recipes for CIFAR-100's classes


def dataset(train, test, groups=None, groups_test=None):
    """A data set with these labels; its inputs are empty, for a partition looks at labels alone."""
    parts = [Examples(np.zeros((len(y), 0), np.float32), np.asarray(y, np.int32)) for y in (train, test)]
    parts = [Examples(p.x, p.y, c) for p, c in zip(parts, (groups, groups_test), strict=True)]
    return Dataset("toy", *parts, num_classes=int(parts[0].y.max()) + 1)


def balanced(train=1000, test=200, classes=10):
    rng = np.random.default_rng(0)
    return dataset(*(rng.permutation(np.arange(count) % classes) for count in (train, test)))


def lists(partition):
    return [[part.tolist() for part in shards] for shards in partition[:2]]


def assert_covers(partition, data):
    for shards, split in zip(partition[:2], (data.train, data.test), strict=True):
        np.testing.assert_array_equal(np.sort(shards.indices), np.arange(len(split)))


def assert_refuses(config, data, *patterns):
    with pytest.raises(UserError) as caught:
        make_partition(config, data, seed=0)
    for pattern in patterns:
        assert re.search(pattern, str(caught.value)), caught.value


# ------------------------------------------------------------------------------ the authors' recipes


@pytest.fixture(scope="module")
def golden():
    with np.load(HERE / "data/parity/partitions.npz") as file:
        return dict(file)


@pytest.mark.parametrize("case", GOLDEN)
def test_parity_of_recipe(case, golden):
    about = json.loads(str(golden["config"]))[case]
    labels = {split: golden[f"labels/{about['dataset']}/{split}"] for split in ("train", "test")}
    numpy, python = np.random.RandomState(about["init_seed"]), random.Random(about["init_seed"])

    recipe = RECIPES[about["partition"]]
    partition = recipe(numpy, python, labels["train"], labels["test"], about["clients"], about["beta"])

    for split, shards in zip(labels, partition[:2], strict=True):
        expected = {
            key: golden[f"{case}/{split}/{key}"] for key in ("sizes", "first20", "class_counts", "sha256")
        }
        first = np.array([np.pad(part[:20], (0, 20 - len(part[:20])), constant_values=-1) for part in shards])
        np.testing.assert_array_equal(shards.sizes, expected["sizes"])
        np.testing.assert_array_equal(first, expected["first20"])
        classes = expected["class_counts"].shape[1]
        np.testing.assert_array_equal(shards.class_counts(labels[split], classes), expected["class_counts"])
        hashes = [hashlib.sha256(part.astype("<i8").tobytes()).hexdigest()[:16] for part in shards]
        assert hashes == expected["sha256"].tolist()
    # The program goes on with the same stream to draw its cohorts.
    shuffles = [np.arange(about["clients"]) for _ in range(5)]
    for shuffle in shuffles:
        numpy.shuffle(shuffle)
    np.testing.assert_array_equal(shuffles, golden[f"{case}/next_shuffles"])


def test_parity_cases_are_all_tested(golden):
    assert sorted(GOLDEN) == sorted(json.loads(str(golden["config"])))


def fashion_mnist_labels(name):
    content = gzip.decompress((FASHION_MNIST / f"{name}-labels-idx1-ubyte.gz").read_bytes())
    return np.frombuffer(content, np.uint8, offset=8)


@pytest.mark.skipif(
    not FASHION_MNIST.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed"
)
def test_parity_of_pathological_fashion_mnist():
    data = dataset(fashion_mnist_labels("train"), fashion_mnist_labels("t10k"))
    partition = make_partition(cfg.NoniidLabeluni(clients=50, seed=0), data, seed=9)
    assert lists(partition) == lists(load(HERE / "data/fashion_mnist_pathological_50.npz"))


def test_reference_recipe_takes_the_simulations_seed_only_without_its_own():
    data = balanced()
    own, other = (lists(make_partition(cfg.Homo(clients=5, seed=s), data, seed=3)) for s in (0, None))
    assert own == lists(make_partition(cfg.Homo(clients=5, seed=0), data, seed=4))
    assert other == lists(make_partition(cfg.Homo(clients=5, seed=3), data, seed=4))
    assert own != other


def test_fine_labels_hold_every_class_once():
    assert sorted(label for fine in FINE_LABELS for label in fine) == list(range(100))


@pytest.mark.parametrize(
    "config, data, patterns",
    [
        (cfg.NoniidLabeluni(clients=7), balanced(), [r"7 clients with 2 classes", r"multiple of 10"]),
        (cfg.NoniidLabeldir100(clients=10), balanced(), [r"100 classes", r"has 10;"]),
        (cfg.IidLabel100(), balanced(), [r"100 classes", r"has 10;"]),
        (cfg.IidLabel100(clients=50), balanced(5000, 1000, 100), [r"not for 50", r"clients to 100"]),
        (
            cfg.IidLabel100(),
            dataset([0] * 900 + list(range(100)), range(100)),
            [r"class 4 has too few examples"],
        ),
        (cfg.NoniidLabeldir(clients=30), balanced(), [r"200 test examples", r"clients to 20 or less"]),
        (
            cfg.NoniidLabeldir(clients=19, beta=0.5),
            balanced(),
            [r"in 1000 tries", r"partition.beta \(now 0.5\)"],
        ),
        (
            cfg.NoniidLabeldir(clients=3, beta=1e-9),
            balanced(),
            [r"share of 0 of class \d", r"partition.beta"],
        ),
        (cfg.NoniidLabeldir100(beta=1e-9, clients=10), balanced(5000, 1000, 100), [r"share of 0"]),
        (cfg.Homo(seed=2**32), balanced(), [r"partition.seed: 4294967296", r"below 2\*\*32"]),
        (cfg.Homo(clients=1001), balanced(), [r"1001 clients", r"only 1000 train examples"]),
    ],
)
def test_reference_recipe_refuses(config, data, patterns):
    assert_refuses(config, data, *patterns)


# -------------------------------------------------------------------------------------- own recipes


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


# ------------------------------------------------------------------------------------------- sampled


def assert_sampled(partition, config):
    for shards, wanted in zip(partition[:2], (config.train_examples, config.test_examples), strict=True):
        assert shards.sizes.tolist() == [wanted] * config.clients
        assert np.all(np.diff(shards.indices.reshape(-1, wanted), axis=1) > 0)  # ascending, so each once


def test_sampled_clients_overlap_and_follow_the_seed():
    data, config = balanced(), cfg.Sampled(clients=3000, train_examples=30, test_examples=12)
    partition = make_partition(config, data, seed=1)
    assert_sampled(partition, config)
    for shards, split in zip(partition[:2], (data.train, data.test), strict=True):
        times = np.bincount(shards.indices, minlength=len(split))
        np.testing.assert_allclose(times, times.mean(), rtol=0.5)  # none is left out or favoured
    assert lists(make_partition(config, data, seed=1)) == lists(partition)
    assert lists(make_partition(config, data, seed=2)) != lists(partition)
    fixed = cfg.Sampled(**{**vars(config), "seed": 1})
    assert make_partition(fixed, data, seed=2).fingerprint() == partition.fingerprint()


def test_sampled_classes_follow_alpha_and_test_mirrors_train():
    data = balanced(100_000, 100_000)
    for alpha in (0.01, 0.3, 1e6):
        config = cfg.Sampled(clients=2000, train_examples=200, test_examples=200, alpha=alpha)
        partition = make_partition(config, data, seed=0)
        train = partition.train.class_counts(data.train.y, 10) / 200
        test = partition.test.class_counts(data.test.y, 10) / 200
        # One share p has variance (1/C)(1 - 1/C) / (alpha C + 1), and n draws of it add E[p (1 - p)] / n.
        share = 0.09 / (10 * alpha + 1)
        assert train.var() == pytest.approx(share + (0.09 - share) / 200, rel=0.1)
        assert np.mean((train - test) ** 2) == pytest.approx(2 * (0.09 - share) / 200, rel=0.1)
        np.testing.assert_allclose(train.mean(0), 0.1, atol=0.03)
    few = make_partition(cfg.Sampled(clients=500, alpha=1e-6), data, seed=0)
    assert np.all((few.train.class_counts(data.train.y, 10) > 0).sum(1) == 1)


def test_sampled_classes_count_as_much_as_they_have_examples():
    data = dataset([*np.repeat([0, 1, 2], [6000, 3000, 1000]), 4], [0, 1, 2, 3] * 20)
    partition = make_partition(cfg.Sampled(clients=1000, train_examples=100, alpha=1e6), data, seed=0)
    shares = partition.train.class_counts(data.train.y, 5).mean(0) / 100
    np.testing.assert_allclose(shares, [0.6, 0.3, 0.1, 0, 0], atol=0.01)
    tested = partition.test.class_counts(data.test.y, 5).mean(0)
    assert tested[3] == 0, "no client trains class 3"


def test_sampled_lists_within_a_class_are_uniform():
    data = dataset([0] * 5 + [1], [0, 1])
    partition = make_partition(cfg.Sampled(20_000, 3, 1, alpha=1.0), data, seed=0)
    held = partition.train.indices.reshape(-1, 3)
    for own in (held[held[:, 2] < 5], held[held[:, 2] == 5]):  # three of class 0, or two and the only 1
        _, times = np.unique(own, axis=0, return_counts=True)
        assert len(times) == 10
        np.testing.assert_allclose(times / len(own), 0.1, atol=0.015)


def test_sampled_takes_from_other_classes_what_one_cannot_give():
    data = dataset([0] * 5 + [1] * 4 + [2] * 3, [0, 1, 2, 1])
    for wanted in (4, 11, 12):
        config = cfg.Sampled(clients=200, train_examples=wanted, test_examples=4, alpha=1e-3)
        assert_sampled(make_partition(config, data, seed=0), config)


def test_sampled_hundred_thousand_clients_on_a_hundred_examples(tmp_path):
    data, config = balanced(100, 50), cfg.Sampled(clients=100_000, train_examples=10, test_examples=2)
    partition = make_partition(config, data, seed=0)
    assert_sampled(partition, config)
    save(partition, tmp_path / "partition.npz")
    assert load(tmp_path / "partition.npz").fingerprint() == partition.fingerprint()


# ---------------------------------------------------------------------------- CIFAR-100's superclasses


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


# ------------------------------------------------------------------------------------ natural, errors


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


# --------------------------------------------------------------------------------------------- files


@pytest.fixture
def saved(tmp_path):
    partition = make_partition(OWN["dirichlet"], balanced(), seed=0)
    save(partition, tmp_path / "partition.npz")
    return partition, tmp_path / "partition.npz"


def test_saved_partition_comes_back(saved):
    partition, path = saved
    assert [other.name for other in path.parent.iterdir()] == [path.name]
    again = make_partition(cfg.PartitionFile(str(path)), balanced(), seed=5)
    assert lists(again) == lists(partition) and again.fingerprint() == partition.fingerprint()


def test_saved_noise_comes_back_and_is_watched(tmp_path):
    partition, path = make_partition(OWN["feature_noise"], balanced(), seed=0), tmp_path / "partition.npz"
    save(partition, path)
    again = make_partition(cfg.PartitionFile(str(path)), balanced(), seed=5)
    np.testing.assert_array_equal(again.noise, partition.noise)
    assert lists(again) == lists(partition) and again.fingerprint() == partition.fingerprint()
    with np.load(path) as file:
        arrays = dict(file)
    louder = arrays["noise"] * 2
    for changed in (
        arrays | {"noise": louder},
        arrays | {"noise": louder.astype("U")},
        without(arrays, "noise"),
    ):
        np.savez(path, **changed)
        assert_refuses(cfg.PartitionFile(str(path)), balanced(), r"was changed after it was saved")


def without(arrays, name):
    return {key: value for key, value in arrays.items() if key != name}


@pytest.mark.parametrize(
    "name", ["train_indices", "train_offsets", "test_indices", "test_offsets", "fingerprint"]
)
def test_changed_partition_is_refused(saved, name):
    _, path = saved
    with np.load(path) as file:
        arrays = dict(file)
    if name == "fingerprint":
        arrays[name] = np.array("0" * 16)
    else:
        arrays[name][[3, 4]] = arrays[name][[4, 3]]
    np.savez(path, **arrays)
    assert_refuses(cfg.PartitionFile(str(path)), balanced(), r"was changed after it was saved")


def test_save_that_fails_leaves_the_old_file(saved, monkeypatch):
    partition, path = saved

    def full(file, **arrays):
        file.write(b"PK")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="disk full"):
        save(partition, path)
    assert lists(load(path)) == lists(partition)
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_json_partition(tmp_path):
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"train": {"1": [2, 0], "0": [5]}, "test": {"0": [], "1": [1]}}))
    partition = make_partition(cfg.PartitionFile(str(path)), balanced(), seed=0)
    assert lists(partition) == [[[5], [2, 0]], [[], [1]]]
