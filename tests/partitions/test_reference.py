"""The authors' recipes: theirs draw for draw, and what they refuse."""

import gzip
import hashlib
import json
import random

import numpy as np
import pytest
from partition_cases import FASHION_MNIST, GOLDEN, assert_refuses, balanced, dataset, lists
from paths import FIXTURES, PARITY

from fedtp_jax import config as cfg
from fedtp_jax.partitions.files import load_partition
from fedtp_jax.partitions.make import make_partition
from fedtp_jax.partitions.reference import RECIPES
from fedtp_jax.partitions.superclass import FINE_LABELS


@pytest.fixture(scope="module")
def golden():
    with np.load(PARITY / "partitions.npz") as file:
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
    assert lists(partition) == lists(load_partition(FIXTURES / "fashion_mnist_pathological_50.npz"))


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
