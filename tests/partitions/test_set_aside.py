"""Part of every train shard set aside for validation: how much, of which classes, by which seed; in files."""

import json
from pathlib import Path

import numpy as np
import pytest
from partition_cases import OWN, assert_refuses, balanced, dataset, lists

from fedtp_jax import Partition, UserError
from fedtp_jax import config as cfg
from fedtp_jax.data.dataset import Dataset, Windows
from fedtp_jax.partitions.files import load_partition, save_partition
from fedtp_jax.partitions.make import make_partition
from fedtp_jax.partitions.partition import Shards
from fedtp_jax.partitions.validation import set_aside

RECIPES = {
    **{name: config for name, config in OWN.items() if name not in ("superclass", "pachinko")},
    "sampled": cfg.Sampled(clients=30),
    "homo": cfg.Homo(clients=7),
    "noniid-labeldir": cfg.NoniidLabeldir(clients=7),
    "noniid-labeluni": cfg.NoniidLabeluni(clients=20),
}


def with_share(config, share):
    return type(config)(**{**vars(config), "validation": share})


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("name", RECIPES)
def test_a_share_of_every_client_alike_in_its_classes(name, share):
    data, config = balanced(), RECIPES[name]
    whole = make_partition(config, data, seed=1)
    parted = make_partition(with_share(config, share), data, seed=1)
    assert lists(parted)[1] == lists(whole)[1]
    counts = whole.train.class_counts(data.train.y, 10)
    aside = parted.validation.class_counts(data.train.y, 10)
    for k, shard in enumerate(whole.train):
        left, validated = parted.train[k], parted.validation[k]
        assert len(validated) == min(max(round(share * len(shard)), 1), len(shard) - 1)
        assert np.abs(aside[k] - len(validated) * counts[k] / len(shard)).max() < 1
        # nothing is lost or twice, and both keep the order of the shard
        np.testing.assert_array_equal(left, shard[np.isin(shard, left)])
        np.testing.assert_array_equal(validated, shard[np.isin(shard, validated)])
        assert sorted([*left, *validated]) == sorted(shard)
    parted.check(data)


def test_it_follows_the_seed_of_the_partition():
    data = balanced()

    def made(seed, own=None):
        partition = make_partition(cfg.Iid(clients=7, seed=own, validation=0.2), data, seed=seed)
        return [part.tolist() for part in partition.validation]

    assert made(1) == made(1) == made(2, own=1) != made(2)
    groups, test = np.arange(1000) % 5, np.arange(200) % 5
    named = dataset(data.train.y, data.test.y, groups, test)
    natural = [make_partition(cfg.Natural(validation=0.2), named, seed=s).fingerprint() for s in (1, 1, 2)]
    assert natural[0] == natural[1] != natural[2]


def test_it_stays_what_it_is():
    """Another draw would be other runs."""
    partition = make_partition(cfg.Iid(clients=3, validation=0.2), balanced(60, 12), seed=0)
    assert [part.tolist() for part in partition.validation] == GOLDEN


GOLDEN = [[57, 46, 26, 18], [59, 2, 51, 56], [42, 37, 7, 16]]


def test_who_has_a_single_example_trains_on_it():
    data = dataset([0, 1, 0, 1, 0], [0, 1], np.array([0, 1, 1, 2, 2]), np.array([0, 1]))
    partition = make_partition(cfg.Natural(validation=0.01), data, seed=0)
    assert partition.train.sizes.tolist() == [1, 1, 1]
    assert partition.validation.sizes.tolist() == [0, 1, 1]
    alone = dataset([0, 1], [0, 1], np.array([0, 1]), np.array([0, 1]))
    assert_refuses(cfg.Natural(validation=0.5), alone, r"partition.validation: 0.5, but no client of toy has")


def test_ties_between_classes_are_drawn():
    """Of ten classes with an example each one is taken, from every class alike."""
    data = dataset(np.tile(np.arange(10), 500), [0], np.repeat(np.arange(500), 10), np.array([0]))
    partition = make_partition(cfg.Natural(validation=0.1), data, seed=0)
    found = np.bincount(data.train.y[partition.validation.indices], minlength=10)
    assert found.sum() == 500 and found.min() > 25 and found.max() < 80


def test_a_hundred_thousand_clients():
    data = balanced(200_000, 20_000)
    partition = make_partition(cfg.Quantity(clients=100_000, min_size=1, validation=0.1), data, seed=0)
    assert len(partition.validation) == 100_000
    assert len(partition.train.indices) + len(partition.validation.indices) == 200_000


def text(*characters, window=5):
    """A data set of texts with so many characters, a client each."""
    counts, begins = np.array(characters) - window, np.cumsum(characters) - characters
    start = np.concatenate([begin + np.arange(count) for begin, count in zip(begins, counts, strict=True)])
    group = np.repeat(np.arange(len(characters)), counts).astype(np.int32)
    windows = Windows(np.zeros(sum(characters), np.uint8), start.astype(np.int32), window, group)
    return Dataset("text", windows, windows, num_classes=100)


def test_of_a_text_the_end_which_no_window_before_it_predicts():
    data = text(105, 12, 6, 4 + 5 + 9)
    partition = make_partition(cfg.Natural(validation=0.2), data, seed=0)
    start, window = data.train.start, data.train.length
    assert partition.validation.sizes.tolist() == [20, 1, 0, 3]
    assert partition.train.sizes.tolist() == [100 - 20 - 4, 7 - 1 - 4, 1, 13 - 3 - 4]
    for left, aside in zip(partition.train, partition.validation, strict=True):
        if len(aside):
            assert start[aside].min() - start[left].max() == window  # not one label in common, and none lost
    short = make_partition(cfg.Natural(validation=0.2), text(105, 10), seed=0)
    assert short.validation.sizes.tolist() == [20, 0] and short.train.sizes.tolist() == [76, 5]


# ------------------------------------------------------------------------------------- files and lists


def test_files_hold_it(tmp_path):
    data, path = balanced(), tmp_path / "partition.npz"
    partition = make_partition(cfg.FeatureNoise(clients=7, validation=0.2), data, seed=0)
    save_partition(partition, path)
    again = make_partition(cfg.PartitionFile(str(path)), data, seed=5)
    assert again.fingerprint() == partition.fingerprint()
    assert [k.tolist() for k in again.validation] == [k.tolist() for k in partition.validation]
    twice = r"partition.validation: 0.1, but partition.file lists validation examples already"
    assert_refuses(cfg.PartitionFile(str(path), validation=0.1), data, twice)
    with np.load(path) as file:
        arrays = dict(file)
    changed = arrays | {"validation_indices": arrays["validation_indices"][::-1]}
    for damaged, told in (
        (changed, "was changed after it was saved"),
        (without(arrays, "validation_indices"), "it lacks validation_indices"),
        (without(without(arrays, "validation_indices"), "validation_offsets"), "was changed after"),
    ):
        np.savez(path, **damaged)
        with pytest.raises(UserError, match=told):
            load_partition(path)


def without(arrays, name):
    return {key: value for key, value in arrays.items() if key != name}


def test_a_file_without_it_is_what_it_was(tmp_path):
    save_partition(make_partition(cfg.Iid(clients=7), balanced(), seed=0), tmp_path / "partition.npz")
    with np.load(tmp_path / "partition.npz") as file:
        names = ["fingerprint", "train_indices", "train_offsets", "test_indices", "test_offsets"]
        assert file.files == names
    share = make_partition(cfg.PartitionFile(str(tmp_path / "partition.npz"), validation=0.2), balanced(), 0)
    assert share.validation.sizes.sum() == 202  # of seven shards of 142 or 143


def test_lists_of_ones_own():
    partition = Partition.from_lists([[0, 1], [2]], [[0], [1]], validation=[[3], []])
    assert [part.tolist() for part in partition.validation] == [[3], []]
    partition.check(balanced())
    assert partition.fingerprint() != Partition.from_lists([[0, 1], [2]], [[0], [1]]).fingerprint()


@pytest.mark.parametrize(
    ("validation", "told"),
    [
        ([[1], []], r"client 0 trains on train example 1 and is validated on it"),
        ([[], []], r"the lists of validation examples are empty"),
        ([[1000], []], r"validation indices run from 1000 to 1000, but toy has train examples 0 to 999"),
        ([[], [7, 7]], r"client 1 lists a validation example twice"),
        ([[7]], r"validation: 1 lists, but train has 2"),
        ([[0.5], []], r"validation: client 0 has \[0.5\]"),
        ("all", r"validation: got 'all', expected a list of positions for each client"),
    ],
)
def test_wrong_lists(validation, told):
    with pytest.raises(UserError, match=told):
        Partition.from_lists([[0, 1], [2]], [[0], [1]], validation).check(balanced())


def test_json_lists(tmp_path):
    path, both = Path(tmp_path / "own.json"), {"train": {"0": [1], "1": [2]}, "test": {"0": [0], "1": []}}
    path.write_text(json.dumps({**both, "validation": {"0": [5], "1": []}}))
    assert make_partition(cfg.PartitionFile(str(path)), balanced(), 0).validation[0].tolist() == [5]
    path.write_text(json.dumps({**both, "validation": {"0": [5]}}))
    assert_refuses(cfg.PartitionFile(str(path)), balanced(), r"2 clients in train but 1 in validation")


def test_the_share_counts_from_whoever_holds_the_example():
    """Clients that hold the same examples are parted each by itself."""
    shards = Shards.from_lists([np.arange(10), np.arange(10)])
    partition = set_aside(Partition(shards, shards), balanced(), 0.5, seed=0)
    assert partition.validation.sizes.tolist() == [5, 5]
    assert partition.validation[0].tolist() != partition.validation[1].tolist()
