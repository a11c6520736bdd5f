"""What a user's arrays hold is what is learnt from: nothing is blurred, unmasked or renamed silently."""

import warnings

import numpy as np
import pytest
from flax import linen as nn

from fedtp_jax import Partition, UserError, from_arrays, simulate

Y = np.arange(40) % 3
X = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)


class Linear(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(4)(x)


def test_whole_numbers_that_float32_cannot_hold_are_said():
    stamps = np.arange(40.0)[:, None] + 1.6e9
    with pytest.warns(UserWarning, match=r"39 whole numbers, up to 16000000\d\d, are not exact in float32"):
        from_arrays(stamps, Y)
    offset = from_arrays(stamps - 1.6e9, Y)  # the hint, followed
    assert np.unique(np.concatenate([offset.train.x, offset.test.x])).size == 40


@pytest.mark.parametrize(
    ("x", "followed"),
    [
        (np.arange(40)[:, None] - 5, lambda x: x.astype("float32")),
        (np.arange(40)[:, None] * 10, lambda x: x.astype("float32")),
        (np.arange(40)[:, None] + 2**31, lambda x: (x - 2**31).astype("float32")),
        (np.arange(40)[:, None] > 3, lambda x: x.astype("float32")),
        (X[:, :1] * 1j, lambda x: np.stack([x.real, x.imag], -1).astype("float32")[:, 0]),
    ],
)
def test_the_hint_for_a_dtype_leads_to_what_was_given(x, followed):
    with pytest.raises(UserError, match="dtype") as told:
        from_arrays(x, Y)
    assert "uint8" not in str(told.value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = from_arrays(followed(x), Y)
    assert len(np.unique(np.concatenate([data.train.x, data.test.x]), axis=0)) == len(np.unique(x))


def test_floats_of_any_byte_order_are_floats():
    given, swapped = from_arrays(X, Y), from_arrays(X.astype(">f8"), Y)
    assert swapped.fingerprint() == given.fingerprint()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: from_arrays([np.ma.masked_equal(row, row[0]) for row in X], Y),
        lambda: from_arrays(X, Y, mean=np.ma.masked_equal([1, 2, 3, 4, 5.0], 3)),
        lambda: Partition.from_lists([np.ma.masked_equal([1, 2, 3], 2)], [[0]]),
    ],
)
def test_a_mask_is_never_dropped(wrong):
    with pytest.raises(UserError, match=r"(1|40) of its values are masked"):
        wrong()


@pytest.mark.parametrize(
    "groups", [["a", float("nan")] * 20, ["a", 1.5] * 20, ["a", None] * 20, ["a", "a\0"] * 20]
)
def test_a_group_is_a_client_by_its_own_name(groups):
    with pytest.raises(UserError, match="none missing, all of one kind"):
        from_arrays(X, Y, groups=groups)


def test_hints_for_labels_hold():
    for mixed in (["a", 1], ["a", 1.5], ["a", True]):
        with pytest.raises(UserError, match=r"these are of types .*; bring them to one"):
            from_arrays(X, mixed * 20)
    with pytest.raises(UserError, match="ends with a NUL"):
        from_arrays(X, ["a", "a\0"] * 20)
    for missing in (None, float("nan")):
        with pytest.raises(UserError, match="20 labels are missing, first at index 1"):
            from_arrays(X, ["a", missing] * 20)
    assert from_arrays(X, Y.astype(object)).num_classes == 3
    for huge in (np.array([0.0, 1e300] * 20), np.array([0.0, np.inf] * 20)):
        with pytest.raises(UserError) as told:
            from_arrays(X, huge)
        assert "astype" not in str(told.value)
    with pytest.raises(UserError, match="each is alone there; give x_test"):
        from_arrays(X, np.arange(40))


def test_a_std_that_float32_takes_for_0_is_refused():
    for std in (1e-300, 1e-42):
        with pytest.raises(UserError, match=r"std: .*expected finite numbers of at least 1\.2e-38"):
            from_arrays(X, Y, std=std)


def test_numpy_scalars_are_numbers():
    data = from_arrays(X, Y, seed=np.array(3), test_fraction=np.array(0.3), num_classes=np.array(5))
    assert (
        data.num_classes == 5
        and data.fingerprint() == from_arrays(X, Y, seed=3, test_fraction=0.3).fingerprint()
    )
    with pytest.raises(UserError, match="seed: True"):
        from_arrays(X, Y, seed=True)


@pytest.mark.parametrize(
    ("lists", "told"),
    [
        (([1, 2], [1, 2]), "client 0 has 1"),
        ((None, None), "train: got None"),
        (([None], [[0]]), "client 0 has None"),
        (({0: [1, 2]}, [[0]]), "train: got {0: "),
        (([[[1], [1, 2]]], [[0]]), "client 0 has "),
        (([np.array([True, False])], [[0]]), r"np\.flatnonzero\(mask\)"),
        (([np.array([2**63 + 5], "u8")], [[0]]), "9223372036854775813"),
    ],
)
def test_wrong_lists_are_told(lists, told):
    with pytest.raises(UserError, match=told):
        Partition.from_lists(*lists)
    assert Partition.from_lists([{2, 1}], [[]]).train[0].tolist() == [1, 2]


def test_what_an_npz_file_may_say(tmp_path):
    file = tmp_path / "mine.npz"
    np.savez(file, x=X, y=Y, mean=[0.5] * 5, std=2.0, num_classes=4, kind=np.array([b"features"]))
    result = simulate(
        data={"name": "npz", "file": file},  # a Path is one too
        partition={"name": "iid", "clients": 2},
        model=Linear(),
        method="fedavg",
        training={"rounds": 1, "cohort_size": 1},
    )
    assert (result.data_spec.num_classes, result.data_spec.mean, result.data_spec.std) == (
        4,
        (0.5,) * 5,
        (2.0,),
    )
