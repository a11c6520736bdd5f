"""Partitions as files: they come back, and a changed one is refused."""

import json

import numpy as np
import pytest
from partition_cases import OWN, assert_refuses, balanced, lists

from fedtp_jax import config as cfg
from fedtp_jax.partitions.files import load_partition, save_partition
from fedtp_jax.partitions.make import make_partition


@pytest.fixture
def saved(tmp_path):
    partition = make_partition(OWN["dirichlet"], balanced(), seed=0)
    save_partition(partition, tmp_path / "partition.npz")
    return partition, tmp_path / "partition.npz"


def test_saved_partition_comes_back(saved):
    partition, path = saved
    assert [other.name for other in path.parent.iterdir()] == [path.name]
    again = make_partition(cfg.PartitionFile(str(path)), balanced(), seed=5)
    assert lists(again) == lists(partition) and again.fingerprint() == partition.fingerprint()


def test_saved_noise_comes_back_and_is_watched(tmp_path):
    partition, path = make_partition(OWN["feature_noise"], balanced(), seed=0), tmp_path / "partition.npz"
    save_partition(partition, path)
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
        save_partition(partition, path)
    assert lists(load_partition(path)) == lists(partition)
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_json_partition(tmp_path):
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"train": {"1": [2, 0], "0": [5]}, "test": {"0": [], "1": [1]}}))
    partition = make_partition(cfg.PartitionFile(str(path)), balanced(), seed=0)
    assert lists(partition) == [[[5], [2, 0]], [[], [1]]]
