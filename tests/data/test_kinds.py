"""Features, series and token ids of the user's own; labels, gaps and scales, beside scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from fedtp_jax import config, from_arrays
from fedtp_jax.data.sources import load

RNG = np.random.default_rng(4)
F = RNG.normal([3.0, -200.0, 0.0], [2.0, 50.0, 1.0], (60, 3))
F[:, 2] = 7.5  # a constant
Y, GROUPS = np.arange(60) % 3, np.repeat(["a", "b", "c"], 20)
TOKENS = RNG.integers(1, 9, (60, 5))


def rows(part):
    return part.x.reshape(-1, part.x.shape[-1])


@pytest.mark.parametrize(
    ("labels", "names", "numbers"),
    [
        (np.array(["no", "yes", "maybe"])[Y], ("maybe", "no", "yes"), np.array([1, 2, 0])[Y]),
        (Y > 0, ("False", "True"), (Y > 0).astype(int)),
        (pd.Series(["b", "a"] * 30), ("a", "b"), np.array([1, 0] * 30)),
        (pd.Series(["b", "a"] * 30, dtype="category"), ("a", "b"), np.array([1, 0] * 30)),
        (np.array([True, False] * 30, object), ("False", "True"), np.array([1, 0] * 30)),
        (np.array([b"b", b"a"] * 30), ("a", "b"), np.array([1, 0] * 30)),
        (Y, (), Y),
    ],
    ids=["texts", "booleans", "pandas", "categories", "objects", "bytes", "numbers"],
)
def test_labels_are_taken_as_they_come(labels, names, numbers):
    data = from_arrays(F, labels, F, labels)
    assert data.class_names == names and data.num_classes == numbers.max() + 1
    np.testing.assert_array_equal(data.train.y, numbers)
    np.testing.assert_array_equal(data.test.y, numbers)


def test_held_out_examples_are_of_every_text():
    data = from_arrays(F, np.array(["no", "yes", "maybe"])[Y], test_fraction=0.25)
    assert np.bincount(data.test.y).tolist() == [5, 5, 5]


def test_features_and_series_are_standardised_by_the_train_examples_of_all():
    data = from_arrays(F, Y)
    scaler = StandardScaler().fit(data.train.x)
    np.testing.assert_allclose(data.mean, scaler.mean_, rtol=1e-6)
    np.testing.assert_allclose(data.std, scaler.scale_, rtol=1e-6)
    series = from_arrays(F.reshape(20, 3, 3), Y[:20], kind="series")
    np.testing.assert_allclose(series.std, StandardScaler().fit(rows(series.train)).scale_, rtol=1e-6)
    for other in ({"standardize": "none"}, {"mean": 0.0}, {"std": 1.0}):
        assert from_arrays(F, Y, **other).mean == (0.0,) and from_arrays(F, Y, **other).std == (1.0,)
    images = from_arrays(F.reshape(20, 3, 3, 1), Y[:20])
    assert (images.mean, images.std) == ((0.0,), (1.0,))
    assert from_arrays(F.reshape(20, 3, 3, 1), Y[:20], standardize="pooled").mean != (0.0,)


def test_each_client_may_be_standardised_by_its_own_train_examples():
    data = from_arrays(F, Y, groups=GROUPS, standardize="client")
    plain = from_arrays(F, Y, groups=GROUPS, standardize="none")
    for group in range(3):
        scaler = StandardScaler().fit(plain.train.x[plain.train.group == group])
        for found, part in ((data.train, plain.train), (data.test, plain.test)):
            mine = part.group == group
            np.testing.assert_allclose(found.x[mine], scaler.transform(part.x[mine]), atol=2e-6)
    assert (data.mean, data.std) == ((0.0,), (1.0,))


@pytest.mark.parametrize("how", ["mean", "median"])
@pytest.mark.parametrize("masked", [False, True])
def test_gaps_are_filled_on_request_by_the_train_examples(how, masked):
    gaps = RNG.random(F.shape) < 0.2
    x = np.ma.MaskedArray(F, gaps) if masked else np.where(gaps, np.nan, F)
    whole, data = from_arrays(F, Y, standardize="none"), from_arrays(x, Y, impute=how)
    held_out = np.isin(F[:, 0].astype(np.float32), whole.test.x[:, 0])
    imputer = SimpleImputer(strategy=how).fit(np.where(gaps, np.nan, F)[~held_out])
    for part, chosen in ((data.train, ~held_out), (data.test, held_out)):
        expected = imputer.transform(np.where(gaps, np.nan, F)[chosen])
        np.testing.assert_allclose(part.x, expected, rtol=1e-6)
    np.testing.assert_allclose(data.mean, data.train.x.mean(0, dtype=np.float64), rtol=1e-6)


def test_tokens_have_one_label_or_their_own_next_tokens():
    padded = TOKENS.copy()
    padded[3, 2:], padded[7, 4:] = 0, 0
    data = from_arrays(padded, Y, kind="tokens", padding=0, vocabulary=20, groups=GROUPS)
    assert (data.kind, data.ids, data.padding, data.num_classes) == ("tokens", 20, 0, 3)
    assert data.train.x.dtype == np.int32 and data.input_shape == (5,)
    assert from_arrays(TOKENS, Y, kind="tokens").ids == TOKENS.max() + 1

    data = from_arrays(TOKENS, kind="tokens", groups=GROUPS, groups_test=GROUPS[:2], x_test=TOKENS[:2])
    assert (data.kind, data.num_classes, data.input_shape) == ("text", TOKENS.max() + 1, (4,))
    text, start = data.train.text, data.train.start
    read = np.stack([text[s : s + data.train.length + 1] for s in start])
    np.testing.assert_array_equal(read, TOKENS)
    np.testing.assert_array_equal(data.train.y, TOKENS[:, -1])
    assert data.train.group.tolist() == [0] * 20 + [1] * 20 + [2] * 20
    assert len(from_arrays(TOKENS, kind="tokens").test) == 12


def test_what_token_ids_mean_is_part_of_a_runs_identity():
    from fedtp_jax.partitions.make import make_partition
    from fedtp_jax.simulation.data_spec import DataSpec

    def spec(**given):
        data = from_arrays(TOKENS, Y, kind="tokens", **given)
        return DataSpec.of(data, make_partition(config.Iid(clients=2), data, 0))

    identities = {spec(**given).identity for given in ({}, {"vocabulary": 30}, {"padding": 0})}
    assert len(identities) == 3


def test_a_file_says_all_of_it_too(tmp_path):
    file = tmp_path / "mine.npz"
    np.savez(file, x=TOKENS, y=np.array(["no", "yes", "maybe"])[Y], kind="tokens", padding=0, vocabulary=12)
    data = load(config.Npz(str(file)))
    assert (data.ids, data.padding, data.class_names) == (12, 0, ("maybe", "no", "yes"))
    gaps = np.where(RNG.random(F.shape) < 0.2, np.nan, F)
    np.savez(file, x=gaps, y=Y, impute="median", standardize="none")
    assert load(config.Npz(str(file))).mean == (0.0,)
    np.savez(file, x=TOKENS, kind="tokens")
    assert load(config.Npz(str(file))).is_text
