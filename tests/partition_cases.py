"""Labels without images, and what is expected of partitions of them."""

import re
from pathlib import Path

import numpy as np
import pytest

from fedtp_jax import config as cfg
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.dataset import Dataset, Examples
from fedtp_jax.partitions.make import make_partition

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # Debian's package


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


OWN = {
    "iid": cfg.Iid(clients=7),
    "dirichlet": cfg.Dirichlet(clients=7, alpha=0.5, min_size=10),
    "balanced_dirichlet": cfg.BalancedDirichlet(clients=7),
    "extended_dirichlet": cfg.ExtendedDirichlet(clients=7, classes_per_client=3),
    "pathological": cfg.Pathological(clients=7, classes_per_client=3),
    "quantity": cfg.Quantity(clients=7),
    "feature_noise": cfg.FeatureNoise(clients=7),
    "superclass": cfg.Superclass(clients=23),
    "pachinko": cfg.Pachinko(clients=7),
}

GOLDEN = (
    "cifar10/homo/n10",
    "cifar10/noniid-labeldir/n50",
    "cifar10/noniid-labeluni/n50",
    "cifar100/noniid-labeldir100/n100",
    "cifar100/iid-label100/n100",
)
