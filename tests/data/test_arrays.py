"""The user's own arrays: from_arrays and .npz files."""

import numpy as np
import pytest

from fedtp_jax import config as cfg
from fedtp_jax.data.arrays import from_arrays
from fedtp_jax.data.sources import load

# -------------------------------------------------------------------------------------- own arrays

X = np.random.default_rng(2).integers(0, 256, (40, 6, 6, 3), np.uint8)
Y = np.arange(40) % 4


def test_from_arrays_holds_out_by_label():
    data = from_arrays(X, Y)
    assert (len(data.train), len(data.test)) == (32, 8)
    assert np.bincount(data.test.y).tolist() == [2, 2, 2, 2]
    assert data.num_classes == 4
    assert data.train.group is None and data.group_names == ()
    assert data.train.y.dtype == np.int32
    np.testing.assert_allclose(data.mean, (data.train.x / 255).mean((0, 1, 2)))
    np.testing.assert_allclose(data.std, (data.train.x / 255).std((0, 1, 2)))
    # Every example is in one part, and both parts keep the order.
    index = {image.tobytes(): i for i, image in enumerate(X)}
    train, test = ([index[image.tobytes()] for image in part.x] for part in (data.train, data.test))
    assert train == sorted(train)
    assert test == sorted(test)
    assert sorted(train + test) == list(range(40))
    assert from_arrays(X, Y).fingerprint() == data.fingerprint()
    assert from_arrays(X, Y, seed=1).fingerprint() != data.fingerprint()


def test_from_arrays_holds_out_by_group():
    groups = np.array(["b", "a", "c", "a"] * 10)
    data = from_arrays(X, Y, groups=groups, test_fraction=0.3)
    assert np.bincount(data.test.group).tolist() == [6, 3, 3]
    assert np.bincount(data.train.group).tolist() == [14, 7, 7]
    assert data.train.group.dtype == np.int32
    assert data.group_names == ("a", "b", "c")
    single = from_arrays(X[:6], Y[:6], groups=[5, 5, 5, 5, 5, 9], test_fraction=0.9)
    assert single.train.group.tolist() == [0, 1], "every group keeps an example to train on"


def test_from_arrays_with_test_examples():
    data = from_arrays(X, Y, X[:3], Y[:3], groups=[3] * 20 + [1] * 20, groups_test=[17, 3, 1], num_classes=9)
    assert data.train.group.tolist() == [1] * 20 + [0] * 20
    assert data.test.group.tolist() == [2, 1, 0]
    assert data.group_names == ("1", "3", "17")
    assert data.num_classes == 9
    np.testing.assert_array_equal(data.train.x, X)


@pytest.mark.parametrize(
    ("groups", "groups_test", "names"),
    [
        (np.array(["ö"] * 40), np.array([b"o"] * 3), ("o", "ö")),
        (np.array(["ö".encode(), b"\xff"] * 20), np.array(["ö"] * 3), ("\\xff", "ö")),
        (np.array([2**60 + 1] * 40, np.uint64), np.array([2**60] * 3), (str(2**60), str(2**60 + 1))),
        (
            np.array([2**64 - 1] * 40, np.uint64),
            np.array([2**63] * 3, np.uint64),
            (str(2**63), str(2**64 - 1)),
        ),
    ],
)
def test_from_arrays_keeps_the_names_of_groups(groups, groups_test, names):
    data = from_arrays(X, Y, X[:3], Y[:3], groups=groups, groups_test=groups_test)
    assert data.group_names == names


def test_from_arrays_keeps_floats_and_adds_a_channel():
    data = from_arrays(X[..., 0].astype(np.float64) / 255, Y)
    assert data.train.x.shape == (32, 6, 6, 1)
    assert data.train.x.dtype == np.float32
    assert (data.mean, data.std) == ((0.0,), (1.0,))
    assert from_arrays(np.full((10, 2, 2, 1), 255, np.uint8), np.zeros(10, int)).std == (1.0,)
    assert from_arrays(X, Y, mean=0.5, std=[0.1, 0.2, 0.3]).std == (0.1, 0.2, 0.3)
    assert from_arrays(X.reshape(40, -1), Y, mean=0, std=1).input_shape == (108,)


# -------------------------------------------------------------------------------------------- .npz


def test_npz(tmp_path):
    file = tmp_path / "letters.npz"
    np.savez_compressed(file, x=X, y=Y, x_test=X[:4], y_test=Y[:4], groups=Y, groups_test=Y[:4])
    data = load(cfg.Npz(file=str(file)))
    assert (data.name, data.source) == ("letters", str(file))
    np.testing.assert_array_equal(data.train.x, X)
    assert data.test.group.tolist() == [0, 1, 2, 3]
    assert data.group_names == ("0", "1", "2", "3")
    np.savez(file, x=X, y=Y)
    assert load(cfg.Npz(file=str(file))).fingerprint() == from_arrays(X, Y).fingerprint()
