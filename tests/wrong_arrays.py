"""Wrong arrays: .npz files and what from_arrays is given."""

import io
import os
import pickle
import struct
import zipfile

import numpy as np
from wrong_settings import given

from fedtp_jax import from_arrays

X, Y = np.random.default_rng(2).integers(0, 256, (40, 6, 6, 3), np.uint8), np.arange(40) % 4


class Attack:
    """Whoever unpickles it has a new folder."""

    def __reduce__(self):
        return os.mkdir, ("was_run",)


# --------------------------------------------------------------------------------------------- .npz


def npz(content):
    return given("'data={name: npz, file: my.npz}'", {"my.npz": content})


def arrays_in(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def zipped(**members):
    """A zip archive of .npy files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(f"{name}.npy", content)
    return stream.getvalue()


def npy(shape, content=b""):
    """A .npy file that announces uint8 of this shape."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content


GOOD = arrays_in(x=X, y=Y)

NPZ = {
    "no such file": given("'data={name: npz, file: my.npz}'"),
    "a folder in its place": given("'data={name: npz, file: raw}'", {"raw/x": b""}),
    "an empty file": npz(b""),
    "a single .npy": npz(npy((3,), b"abc")),
    "cut off": npz(GOOD[:3000]),
    "damaged inside": npz(GOOD[:500] + b"\0\0\0" + GOOD[503:]),
    "no y": npz(arrays_in(x=X)),
    "an array with a misspelt name": npz(arrays_in(x=X, y=Y, xtest=X)),
    "a pickle in its place, that would make a folder": npz(pickle.dumps(Attack())),
    "labels that are pickled, and would make a folder": npz(
        lambda: arrays_in(x=X, y=np.array([Attack()] * 40, object))
    ),
    "16 KB that unpack to 2 GB": npz(lambda: zipped(x=npy((2**31,), bytes(2**24)), y=npy((3,), b"abc"))),
    "an array that announces a terabyte": npz(zipped(x=npy((2**40,)), y=npy((3,), b"abc"))),
    "an array that announces more than there is": npz(zipped(x=npy((3, 3)), y=npy((3,), b"abc"))),
    "an array of negative length": npz(zipped(x=npy((-3, 3)), y=npy((3,), b"abc"))),
    "an array whose path leads out": npz(zipped(**{"../escaped": npy((3,), b"abc")})),
}

# -------------------------------------------------------------------------------------- own arrays


def arrays(**changes):
    return lambda: lambda: from_arrays(**({"x": X, "y": Y} | changes))


FEATURES, IDS = np.linspace(0, 1, 120).reshape(40, 3), np.arange(240).reshape(40, 6) % 9


def with_infinity():
    x = FEATURES.copy()
    x[3, 1] = np.inf
    return x


def with_nan():
    x = X.astype(np.float32)
    x[7, 0, 0, 0] = np.nan
    return x


ARRAYS = {
    "x is no array": arrays(x="images"),
    "x is a ragged list": arrays(x=[[1.0], [1.0, 2.0]]),
    "x holds objects": arrays(x=X.astype(object)),
    "x has one axis": arrays(x=X[:, 0, 0, 0]),
    "x is int64": arrays(x=X.astype(np.int64)),
    "x is empty": arrays(x=X[:0], y=Y[:0]),
    "x holds a NaN": arrays(x=with_nan()),
    "x is too large for float32": arrays(x=np.full((40, 2, 2, 1), 1e300)),
    "one label too few": arrays(y=Y[:39]),
    "x has three axes, and no kind": arrays(x=X[..., 0]),
    "three axes of floats, and no kind": arrays(x=X[..., 0].astype(np.float32)),
    "x holds an infinity, gaps to be filled": arrays(x=with_infinity(), impute="mean"),
    "a channel that every example lacks": arrays(x=np.full((40, 3), np.nan), impute="median"),
    "impute is no way": arrays(impute="zero"),
    "standardize is no way": arrays(standardize="minmax"),
    "standardize and a mean": arrays(x=FEATURES, standardize="pooled", mean=0.0),
    "standardize pixels": arrays(standardize="pooled"),
    "standardize by clients that there are not": arrays(x=FEATURES, standardize="client"),
    "standardize by a client without train examples": arrays(
        x=FEATURES, x_test=FEATURES, y_test=Y, groups=Y, groups_test=Y + 1, standardize="client"
    ),
    "no labels for images": arrays(y=None),
    "no labels for features": arrays(x=FEATURES, y=None),
    "ids of no kind": arrays(x=IDS),
    "ids below zero": arrays(x=IDS - 1, kind="tokens"),
    "ids that are floats": arrays(x=IDS.astype(float), kind="tokens"),
    "ids of three axes": arrays(x=IDS[..., None], kind="tokens"),
    "ids up to 2^30": arrays(x=IDS * 2**27, kind="tokens"),
    "an id beyond the vocabulary": arrays(x=IDS, kind="tokens", vocabulary=8),
    "an id of the test texts beyond it": arrays(x=IDS, x_test=IDS + 1, y_test=Y, kind="tokens", vocabulary=9),
    "a vocabulary that is text": arrays(x=IDS, kind="tokens", vocabulary="all"),
    "a vocabulary of images": arrays(vocabulary=8),
    "padding of features": arrays(x=FEATURES, padding=0),
    "token ids to be standardised": arrays(x=IDS, kind="tokens", standardize="pooled"),
    "labels of token ids, but none of the test texts": arrays(x=IDS, x_test=IDS, kind="tokens"),
    "labels of the test texts alone": arrays(x=IDS, y=None, x_test=IDS, y_test=Y, kind="tokens"),
    "padding that is no id": arrays(x=IDS, kind="tokens", padding=9),
    "padding before a token": arrays(x=IDS, kind="tokens", padding=0),
    "a text of padding alone": arrays(x=np.where(Y[:, None] == 2, 0, IDS + 1), kind="tokens", padding=0),
    "padding, and the next token to be predicted": arrays(x=IDS, y=None, kind="tokens", padding=0),
    "texts of one token, and the next to be predicted": arrays(x=IDS[:, :1], y=None, kind="tokens"),
    "num_classes, and the next token to be predicted": arrays(x=IDS, y=None, kind="tokens", num_classes=9),
    "labels that are missing": arrays(y=["a", None] * 20),
    "labels of two types": arrays(y=["a", 1] * 20),
    "labels of the test examples are texts, those of the train examples numbers": arrays(
        x_test=X, y_test=Y.astype(str)
    ),
    "num_classes of labels that are texts": arrays(y=Y.astype(str), num_classes=4),
    "labels are floats": arrays(y=Y.astype(float)),
    "labels are one-hot": arrays(y=np.eye(4, dtype=int)[Y]),
    "labels are one-hot, in a column of their own": arrays(y=Y[:, None]),
    "labels are several for an example": arrays(y=np.ones((40, 5), int)),
    "labels are floats that are no whole numbers": arrays(y=Y + 0.5),
    "labels are masked": arrays(y=np.ma.masked_equal(Y, 3)),
    "x is masked": arrays(x=np.ma.masked_greater(X, 250)),
    "labels begin at -1, with num_classes": arrays(y=Y - 1, num_classes=4),
    "a kind that is none": arrays(kind="images"),
    "a series of images": arrays(kind="series"),
    "a label beyond num_classes": arrays(num_classes=3),
    "num_classes is 4.0": arrays(num_classes=4.0),
    "x_test without y_test": arrays(x_test=X),
    "y_test without x_test": arrays(y_test=Y),
    "x_test of another shape": arrays(x_test=X[:, :5], y_test=Y),
    "x_test of another dtype": arrays(x_test=X.astype(np.float32), y_test=Y),
    "fewer labels than test examples": arrays(x_test=X, y_test=Y[:3]),
    "x_test and groups, but no groups_test": arrays(x_test=X, y_test=Y, groups=Y),
    "x_test and groups_test, but no groups": arrays(x_test=X, y_test=Y, groups_test=Y),
    "groups_test without x_test": arrays(groups=Y, groups_test=Y),
    "groups are numbers, groups_test text": arrays(x_test=X, y_test=Y, groups=Y, groups_test=Y.astype(str)),
    "fewer groups than examples": arrays(groups=Y[:5]),
    "groups are floats": arrays(groups=Y.astype(float)),
    "a group is missing": arrays(groups=[None, *Y[1:]]),
    "groups are ragged": arrays(groups=[[1], [1, 2]]),
    "groups are numbers of 2^70": arrays(groups=[2**70] * 40),
    "test_fraction is 1": arrays(test_fraction=1),
    "test_fraction is text": arrays(test_fraction="half"),
    "test_fraction holds out nothing": arrays(test_fraction=0.01),
    "two means for three channels": arrays(mean=(0.1, 0.2)),
    "mean is text": arrays(mean="x"),
    "std is 0": arrays(std=0),
    "seed is text": arrays(seed="x"),
}
