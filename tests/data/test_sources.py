"""Data sources: originals and TFDS folders give the same examples, and whatever is wrong is said clearly."""

import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from image_files import (
    DEBIAN,
    FOLDERS,
    L,
    assert_cifar,
    binary_files,
    config_of,
    python3_pickle,
    python_files,
    write_emnist,
    write_folder,
    write_idx,
    write_tar,
)

from fedtp_jax import config as cfg
from fedtp_jax.core.errors import UserError
from fedtp_jax.data import sources
from fedtp_jax.data.image_sets import IMAGE_SETS
from fedtp_jax.data.prepare import prepare
from fedtp_jax.data.sources import load

# ------------------------------------------------------------------------------------------ digits


def test_digits():
    data = load(cfg.Digits())
    assert data.train.x.shape == (1438, 8, 8, 1)
    assert data.train.x.dtype == np.uint8
    assert data.train.y.dtype == np.int32
    assert len(data.test) == 359
    assert data.train.x.max() == 255
    pixels = data.train.x / 255
    assert data.mean == pytest.approx((pixels.mean(),), abs=1e-4)
    assert data.std == pytest.approx((pixels.std(),), abs=1e-4)
    # The first test example is scikit-learn's example 4, a four.
    assert data.test.y[0] == 4
    assert set(data.train.y) == set(range(10))


def test_digits_are_those_of_scikit_learn_wherever_it_keeps_them(monkeypatch):
    data = load(cfg.Digits())
    monkeypatch.setattr(sources, "find_spec", lambda name: None)
    assert load(cfg.Digits()).fingerprint() == data.fingerprint()


# --------------------------------------------------------------------------------------------- IDX


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx(tmp_path, name, packed):
    arrays = write_idx(tmp_path / "raw", packed=packed)
    data = load(config_of(name, tmp_path / "raw"))
    assert data.name == name
    assert data.source == str(tmp_path / "raw")
    np.testing.assert_array_equal(data.train.x[..., 0], arrays["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(data.train.y, arrays["train-labels-idx1-ubyte"])
    np.testing.assert_array_equal(data.test.x[..., 0], arrays["t10k-images-idx3-ubyte"])
    np.testing.assert_array_equal(data.test.y, arrays["t10k-labels-idx1-ubyte"])
    assert data.train.y.dtype == np.int32


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_fashion_mnist_of_debian():
    data = load(cfg.FashionMnist())
    assert data.train.x.shape == (60000, 28, 28, 1)
    assert data.test.x.shape == (10000, 28, 28, 1)
    assert np.bincount(data.train.y).tolist() == [6000] * 10
    pixels = data.train.x[::10] / 255
    assert data.mean == pytest.approx((pixels.mean(),), abs=0.01)
    assert data.std == pytest.approx((pixels.std(),), abs=0.01)
    assert data.train.y[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]


@pytest.mark.parametrize("inner", ["", "gzip"])
@pytest.mark.parametrize(
    ("split", "classes", "labels", "names"),
    [
        ("balanced", 47, (0, 10, 36, 46), "0Aat"),
        ("letters", 26, (1, 26, 2, 3), "AZBC"),
        ("digits", 10, (0, 9, 3, 3), ""),
    ],
)
def test_emnist_is_upright_and_its_classes_are_characters(tmp_path, split, classes, labels, names, inner):
    write_emnist(tmp_path / inner, split, labels)
    data = load(config_of(f"emnist/{split}", tmp_path))
    for part in (data.train, data.test):
        np.testing.assert_array_equal(part.x[0, :, :, 0], L)
        assert part.y.tolist() == [label - (split == "letters") for label in labels]
    assert "".join(data.class_names[label] for label in data.train.y if data.class_names) == names
    assert (data.num_classes, data.train.x.dtype) == (classes, np.uint8)
    pixels = data.train.x / 255
    assert (data.mean, data.std) == (pytest.approx((pixels.mean(),)), pytest.approx((pixels.std(),)))


# ------------------------------------------------------------------------------------------- CIFAR


@pytest.mark.parametrize("place", ["files", "above", "archive", "archive file"])
@pytest.mark.parametrize("edition", ["binary", "python"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar(tmp_path, name, edition, place):
    files = binary_files(name) if edition == "binary" else python_files(name)
    folder, archive = FOLDERS[name, edition]
    if place in ("files", "above"):
        written = write_folder(tmp_path / folder, files)
        directory = written if place == "files" else tmp_path
    else:
        written = write_tar(tmp_path / archive, folder, files)
        directory = written if place == "archive file" else tmp_path
    before = sorted(tmp_path.rglob("*"))
    assert_cifar(load(config_of(name, directory)), name)
    assert sorted(tmp_path.rglob("*")) == before, "reading must not unpack anything"


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_pickled_by_python3(tmp_path, name):
    write_folder(tmp_path, python_files(name, python3_pickle))
    assert_cifar(load(config_of(name, tmp_path)), name)


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


@pytest.mark.parametrize("where", ["data_batch_1", "batches.meta"])
def test_malicious_pickle_is_refused(tmp_path, where):
    marker = tmp_path / "was_run"
    bad = pickle.dumps({"data": Malicious(marker)}, protocol=2)
    pickle.loads(bad)
    assert marker.exists(), "the attack itself must work"
    marker.unlink()
    write_folder(tmp_path, python_files("cifar10") | {where: bad})
    with pytest.raises(UserError, match=r"it asks for \w+\.system") as caught:
        load(config_of("cifar10", tmp_path))
    assert not marker.exists()
    assert where in str(caught.value)


# ------------------------------------------------------------------------------------ missing data


@pytest.mark.parametrize("name", sorted(IMAGE_SETS))
def test_missing_data_fails_at_once_and_says_what_to_do(name, no_packages, empty_tfds_folder):
    start = time.perf_counter()
    with pytest.raises(UserError, match=r"data\.directory: no .* found") as caught:
        load(config_of(name))
    assert time.perf_counter() - start < 0.5
    message = str(caught.value)
    assert str(empty_tfds_folder / name) in message
    assert f"fedtp prepare {name} --download" in message
    assert "https://" in message
    assert ("apt-get install dataset-fashion-mnist" in message) == (name == "fashion_mnist")
    with pytest.raises(UserError, match=r"no .* found"):
        prepare(name)


def test_a_named_folder_is_not_replaced_by_another(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load(config_of("fashion_mnist", tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no Fashion-MNIST found") as caught:
        load(config_of("fashion_mnist", tmp_path / "empty"))
    assert str(tmp_path / "empty") in str(caught.value)


def test_arrays_config_points_to_from_arrays():
    with pytest.raises(UserError, match=r"data=fedtp_jax\.from_arrays"):
        load(cfg.Arrays())
    with pytest.raises(TypeError, match="Iid"):
        load(cfg.Iid())
