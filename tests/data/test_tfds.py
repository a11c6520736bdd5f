"""TFDS folders: made without TensorFlow, read back, damaged."""

import dataclasses

import numpy as np
import pytest
from image_files import (
    DEBIAN,
    L,
    assert_cifar,
    binary_files,
    cifar_batches,
    config_of,
    write_emnist,
    write_folder,
    write_idx,
)

from fedtp_jax import config as cfg
from fedtp_jax.core.errors import UserError
from fedtp_jax.data import prepare as preparing
from fedtp_jax.data import tfds
from fedtp_jax.data.image_sets import IMAGE_SETS
from fedtp_jax.data.prepare import prepare
from fedtp_jax.data.sources import load


def test_prepared_folder_gives_the_original_order(tmp_path, empty_tfds_folder, no_packages, capsys):
    import tensorflow_datasets

    write_idx(tmp_path / "raw")
    original = load(config_of("fashion_mnist", tmp_path / "raw"))
    folder = prepare("fashion_mnist", tmp_path / "raw")
    assert folder == empty_tfds_folder / "fashion_mnist" / "3.0.1"
    assert capsys.readouterr().out == ""
    assert sorted(p.name for p in empty_tfds_folder.iterdir()) == ["fashion_mnist"]

    from_tfds = load(config_of("fashion_mnist"))
    assert from_tfds.source == str(empty_tfds_folder / "fashion_mnist")
    assert from_tfds.fingerprint() == original.fingerprint()
    assert from_tfds.train.y.dtype == np.int32
    assert load(config_of("fashion_mnist", empty_tfds_folder)).fingerprint() == original.fingerprint()

    # The stock reader finds the same images, in TFDS's order, with its names of the classes.
    stock = tensorflow_datasets.data_source(
        "fashion_mnist",
        split="test",
        data_dir=str(empty_tfds_folder),
        download=False,
        builder_kwargs={"file_format": "array_record"},
    )
    assert stock.dataset_info.features["label"].names[9] == "Ankle boot"
    labels = np.array([example["label"] for example in stock])
    positions = tfds.stored_positions(len(stock), "test")
    assert labels.tolist() != original.test.y.tolist()
    np.testing.assert_array_equal(labels, original.test.y[positions])
    np.testing.assert_array_equal(stock[0]["image"], original.test.x[positions[0]])

    stamp = (folder / "dataset_info.json").stat().st_mtime_ns
    assert prepare("fashion_mnist", tmp_path / "raw") == folder
    assert (folder / "dataset_info.json").stat().st_mtime_ns == stamp, "a prepared folder is left alone"


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_prepared_cifar(tmp_path, name):
    import tensorflow_datasets

    write_folder(tmp_path / "raw", binary_files(name))
    prepare(name, tmp_path / "raw", data_dir=tmp_path / "elsewhere")
    assert_cifar(load(config_of(name, tmp_path / "elsewhere")), name)
    stock = tensorflow_datasets.data_source(
        name,
        split="test",
        data_dir=str(tmp_path / "elsewhere"),
        download=False,
        builder_kwargs={"file_format": "array_record"},
    )
    assert stock.dataset_info.features["label"].names[3] == "class 3"
    assert sorted(example["id"] for example in stock) == [f"test_{i:05d}".encode() for i in range(4)]
    if name == "cifar100":
        coarse = {example["id"]: example["coarse_label"] for example in stock}
        expected = cifar_batches(name)["test"][1].tolist()
        assert [coarse[f"test_{i:05d}".encode()] for i in range(4)] == expected


def test_prepared_emnist(tmp_path, empty_tfds_folder):
    import tensorflow_datasets

    write_emnist(tmp_path / "raw", "letters", (5, 1, 26, 9))
    folder = prepare("emnist/letters", tmp_path / "raw")
    assert folder == empty_tfds_folder / "emnist" / "letters" / "3.1.0"
    original, from_tfds = (
        load(config_of("emnist/letters", tmp_path / "raw")),
        load(config_of("emnist/letters")),
    )
    assert from_tfds.fingerprint() == original.fingerprint()
    assert (from_tfds.mean, from_tfds.class_names) == (original.mean, original.class_names)
    np.testing.assert_array_equal(from_tfds.test.x[0, :, :, 0], L)
    # The stock reader finds what the files hold: columns before rows, labels from 1 on.
    stock = tensorflow_datasets.data_source(
        "emnist/letters",
        split="test",
        data_dir=str(empty_tfds_folder),
        download=False,
        builder_kwargs={"file_format": "array_record"},
    )
    first = next(example for example in stock if example["label"] == 5)
    np.testing.assert_array_equal(first["image"][..., 0], L.T)
    with pytest.raises(UserError, match=r"no EMNIST \(balanced\) found"):
        load(config_of("emnist/balanced"))


def test_labels_that_the_builder_takes_and_the_split_has_not(tmp_path, monkeypatch):
    write_emnist(tmp_path / "raw", "letters", (5, 1, 30))
    about = IMAGE_SETS["emnist/letters"]
    with monkeypatch.context() as lenient:
        lenient.setitem(IMAGE_SETS, "emnist/letters", dataclasses.replace(about, num_classes=36))
        prepare("emnist/letters", tmp_path / "raw")
    with pytest.raises(UserError, match=r"cannot be read \(it holds label 30, expected 1 to 26\)"):
        load(config_of("emnist/letters"))


def test_stored_positions_follow_tfds_own_hash():
    from tensorflow_datasets.core import hashing

    hasher = hashing.Hasher("train")
    expected = sorted(range(500), key=hasher.hash_key)
    assert tfds.stored_positions(500, "train").tolist() == expected


def test_damaged_tfds_folder(tmp_path, empty_tfds_folder):
    write_idx(tmp_path / "raw")
    folder = prepare("mnist", tmp_path / "raw")
    (shard,) = folder.glob("*-test.array_record*")
    shard.unlink()
    with pytest.raises(UserError, match=r"TFDS folder .*mnist cannot be read"):
        load(config_of("mnist"))


def test_tfds_folder_in_another_format(empty_tfds_folder):
    folder = empty_tfds_folder / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{}")
    (folder / "mnist-train.tfrecord-00000-of-00001").write_bytes(b"")
    with pytest.raises(UserError, match="only array_record is read"):
        load(config_of("mnist"))
    with pytest.raises(UserError, match="another TFDS format"):
        prepare("mnist")


def test_failed_preparation_leaves_nothing(tmp_path, empty_tfds_folder, monkeypatch):
    def broken(image):
        raise OSError("no space left on device")

    write_idx(tmp_path / "raw")
    monkeypatch.setattr(preparing, "_png", broken)
    with pytest.raises(UserError, match="no space left"):
        prepare("mnist", tmp_path / "raw")
    assert list(empty_tfds_folder.iterdir()) == []


def test_prepare_refuses_unknown_names():
    with pytest.raises(UserError, match="did you mean 'fashion_mnist'"):
        prepare("fashionmnist")
    with pytest.raises(UserError, match="did you mean 'emnist/"):
        prepare("emnist")


@pytest.mark.slow
@pytest.mark.rare
@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_whole_fashion_mnist_through_tfds(empty_tfds_folder):
    prepare("fashion_mnist")
    assert (
        load(config_of("fashion_mnist", empty_tfds_folder)).fingerprint()
        == load(cfg.FashionMnist()).fingerprint()
    )
