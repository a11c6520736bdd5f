"""Clients that draw from all examples, whoever else holds them."""

import numpy as np
import pytest
from partition_cases import balanced, dataset, lists

from fedtp_jax import config as cfg
from fedtp_jax.partitions.files import load_partition, save_partition
from fedtp_jax.partitions.make import make_partition


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
    save_partition(partition, tmp_path / "partition.npz")
    assert load_partition(tmp_path / "partition.npz").fingerprint() == partition.fingerprint()
