"""Dirichlet partitions of equal shards and of few classes, and the table of who holds what."""

import numpy as np
import pandas as pd
import pytest
from partition_cases import assert_refuses, balanced, dataset

from fedtp_jax import config as cfg
from fedtp_jax.partitions.holdings import holdings
from fedtp_jax.partitions.make import make_partition


def test_balanced_shards_are_equal_and_differ_in_classes_by_alpha():
    data, spread = balanced(10_000, 1_000), []
    for alpha in (0.1, 1.0, 1000.0):
        partition = make_partition(cfg.BalancedDirichlet(clients=33, alpha=alpha), data, seed=0)
        assert np.ptp(partition.train.sizes) <= 1
        counts = partition.train.class_counts(data.train.y, 10)
        spread.append((counts / counts.sum(1, keepdims=True)).std())
        test = partition.test.class_counts(data.test.y, 10)
        assert np.abs(counts / 10 - test).max() <= 1.5, "test examples are dealt as the train examples are"
    # a share of Dirichlet(alpha * 1_C) has the variance (1/C)(1 - 1/C) / (alpha C + 1), and that of the 303
    # draws beside it; of small alpha the last clients get what is left, which is less varied
    assert spread[0] > 2 * spread[1] > 4 * spread[2]
    np.testing.assert_allclose(
        spread[1:], [np.sqrt(0.09 / (10 * a + 1) + 0.09 / 303) for a in (1.0, 1000.0)], rtol=0.25
    )


@pytest.mark.parametrize(("clients", "per_client"), [(20, 2), (7, 3), (10, 1), (33, 7)])
def test_extended_clients_hold_so_many_classes_at_most_and_alpha_cuts_them(clients, per_client):
    data = balanced(10_000, 5_000)
    for alpha in (0.5, 1000.0):
        config = cfg.ExtendedDirichlet(clients, per_client, alpha, min_size=1)
        partition = make_partition(config, data, seed=2)
        train = partition.train.class_counts(data.train.y, 10)
        assert ((train > 0).sum(1) <= per_client).all() and partition.train.sizes.min() >= 1
        test = partition.test.class_counts(data.test.y, 10)
        assert np.abs(train / 2 - test).max() <= 1.5
        if alpha > 1:  # nearly even: as pathological
            np.testing.assert_array_equal((train > 0).sum(1), per_client)
            holders = (train > 0).sum(0)
            shares = train / (1000 / holders)
            np.testing.assert_allclose(shares[train > 0], 1, atol=0.2)


def test_what_does_not_fit_is_said():
    only_test = dataset([0, 0, 1, 1], [0, 2, 1])
    only_test = only_test.__class__(**{**vars(only_test), "num_classes": 3})
    assert_refuses(cfg.BalancedDirichlet(clients=2), only_test, r"balanced_dirichlet: toy has 1 test but no")
    assert_refuses(cfg.BalancedDirichlet(alpha=float("inf")), balanced(), r"partition.alpha")
    assert_refuses(cfg.ExtendedDirichlet(classes_per_client=11), balanced(), r"11 classes a client")
    assert_refuses(cfg.ExtendedDirichlet(clients=4), balanced(), r"4 clients with 2 classes", r"to nobody")
    assert_refuses(
        cfg.ExtendedDirichlet(clients=20, alpha=0.01, min_size=45), balanced(), r"no draw in 100 gave"
    )


def test_the_table_of_who_holds_what():
    data = dataset([0, 1, 1, 2, 2, 2], [2, 0])
    partition = make_partition(cfg.Iid(clients=2), data, seed=0)
    table = holdings(partition, data, ["ann", "bob"])
    for client, row in table.iterrows():
        for split, labels, shards in (
            ("train", data.train.y, partition.train),
            ("test", data.test.y, partition.test),
        ):
            held = labels[shards[client]]
            assert row[split] == len(held)
            assert [row[f"{split}_{c}"] for c in range(3)] == [int((held == c).sum()) for c in range(3)]
    assert table["name"].tolist() == ["ann", "bob"]
    aside = make_partition(cfg.Iid(clients=2, validation=0.3), data, seed=0)
    assert holdings(aside, data)["validation"].tolist() == [1, 1]
    assert isinstance(table, pd.DataFrame) and "name" not in holdings(aside, data)
