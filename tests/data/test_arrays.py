"""The user's own arrays: from_arrays and .npz files."""

import numpy as np
import pytest

from fedtp_jax import UserError, simulate
from fedtp_jax import config as cfg
from fedtp_jax.data.arrays import from_arrays
from fedtp_jax.data.sources import load
from fedtp_jax.partitions.make import make_partition

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
    data = from_arrays(X[..., 0].astype(np.float64) / 255, Y, kind="image")
    assert data.train.x.shape == (32, 6, 6, 1)
    assert data.train.x.dtype == np.float32
    assert (data.mean, data.std) == ((0.0,), (1.0,))
    assert from_arrays(np.full((10, 2, 2, 1), 255, np.uint8), np.arange(10) % 2).std == (1.0,)
    assert from_arrays(X, Y, mean=0.5, std=[0.1, 0.2, 0.3]).std == (0.1, 0.2, 0.3)
    assert from_arrays(X.reshape(40, -1), Y, mean=0, std=1).input_shape == (108,)


@pytest.mark.parametrize(
    ("labels", "names"), [((1, 2, 3), True), ((-1, 1), True), ((0, 5), True), ((0, 1, 2), False)]
)
def test_classes_are_the_labels_that_occur(labels, names):
    y = np.array(labels)[np.arange(40) % len(labels)]
    data = from_arrays(X, y)
    assert data.num_classes == len(labels)
    assert data.class_names == (tuple(map(str, labels)) if names else ())
    assert data.train.y.dtype == np.int32
    assert np.unique(data.train.y).tolist() == [*range(len(labels))]
    back = np.array(labels)[data.train.y]
    index = {image.tobytes(): i for i, image in enumerate(X)}
    assert back.tolist() == [y[index[image.tobytes()]] for image in data.train.x]
    assert from_arrays(X, Y, num_classes=7).num_classes == 7


def test_recipes_know_no_class_that_nobody_has():
    data = from_arrays(X, np.arange(40) % 3 + 1)
    for partition in (cfg.Pathological(clients=3, classes_per_client=1), cfg.NoniidLabeluni(clients=3)):
        assert make_partition(partition, data, 0).train.sizes.min() > 0


def test_one_class_is_said():
    with pytest.warns(UserWarning, match="y: every label is 4, so there is nothing to tell apart"):
        from_arrays(X, np.full(40, 4))


def test_three_axes_are_what_the_user_says():
    series = X[..., 0].astype(np.float32)
    assert from_arrays(series, Y, kind="series").input_shape == (6, 6)
    assert from_arrays(series, Y, kind="series", mean=np.arange(6.0)).mean == tuple(range(6))
    assert from_arrays(X[..., 0], Y, kind="image").input_shape == (6, 6, 1)


def test_channels_that_come_first_are_said():
    first = np.zeros((40, 3, 6, 6), np.uint8)
    with pytest.warns(
        UserWarning, match=r"\[40, 3, 6, 6\] is taken for images of 3 x 6 pixels with 6 channels"
    ):
        from_arrays(first, Y)
    assert from_arrays(first.transpose(0, 2, 3, 1), Y).input_shape == (6, 6, 3)  # the hint, followed
    assert from_arrays(np.zeros((40, 1, 8, 16), np.uint8), Y).input_shape == (1, 8, 16)  # one of series


@pytest.mark.parametrize("name", ["vit", "cnn", "lstm"])
def test_tables_are_pointed_to_models_that_take_them(name):
    with pytest.raises(UserError, match=r"features of shape \[5\]; choose mlp, transformer, or other data"):
        simulate(
            data=from_arrays(np.eye(40, 5, dtype=np.float32), Y),
            model=name,
            method="fedavg",
            partition={"name": "iid", "clients": 5},
        )


def test_floats_that_look_like_pixels_are_said():
    with pytest.warns(UserWarning, match="look like pixels"):
        from_arrays(X.astype(np.float32), Y)
    from_arrays(X.astype(np.float32), Y, mean=127, std=50)
    from_arrays(X.astype(np.float32) / 255, Y)


@pytest.mark.parametrize(
    ("y", "hint"),
    [
        (Y[:, None], r"; give y\[:, 0\]$"),
        (np.eye(4, dtype=int)[Y], r"these are one-hot: give y.argmax\(axis=1\)$"),
        (np.ones((40, 5), int), "several of these labels say task='multilabel'$"),
        (Y.astype(float), r"; give y.astype\(int\)$"),
        (np.ones((40, 5), bool), "several of these labels say task='multilabel'$"),
        (Y + 0.5, "numbers to predict say task='regression'$"),
        (np.random.default_rng(0).random((40, 5)), "numbers to predict say task='regression'$"),
    ],
)
def test_a_hint_is_given_where_it_fits(y, hint):
    with pytest.raises(UserError, match=hint):
        from_arrays(X, y)


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


def test_what_three_axes_are_in_an_npz(tmp_path):
    file, series = tmp_path / "sensors.npz", X[..., 0].astype(np.float32)
    np.savez(file, x=series, y=Y, x_test=series[:4], y_test=Y[:4], kind="series")
    assert load(cfg.Npz(file=str(file))).input_shape == (6, 6)
    np.savez(file, x=series, y=Y, kind="movie")
    with pytest.raises(UserError, match=r"sensors\.npz: kind: got 'movie'; choose image, series, f"):
        load(cfg.Npz(file=str(file)))
