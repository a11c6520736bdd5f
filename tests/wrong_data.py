"""Wrong data: files that are damaged or hostile."""

import functools
import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
from image_files import binary_files, idx_bytes, python3_pickle, python_files, write_emnist, write_idx
from wrong_arrays import ARRAYS, NPZ, Attack
from wrong_settings import given, write

from fedtp_jax.data.prepare import prepare

# ---------------------------------------------------------------------------------------------- IDX

IMAGES, LABELS = idx_bytes(np.zeros((3, 28, 28), np.uint8)), idx_bytes(np.zeros(3, np.uint8))


def idx(images=IMAGES, labels=LABELS, suffix=""):
    """MNIST with these train images and labels."""
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    contents = zip(names, (images, labels, IMAGES, LABELS), strict=True)
    files = {f"raw/{name}-ubyte{suffix}": content for name, content in contents if content is not None}
    return given("'data={name: mnist, directory: raw}'", files)


def packed(images):
    """The same in .gz files; of IMAGES all but the train images are taken as they are."""
    return idx(images, gzip.compress(LABELS), ".gz")


def stored(content):
    return gzip.compress(content, compresslevel=0)


IDX = {
    "no folder": given("'data={name: mnist, directory: nowhere}'"),
    "a file in place of the folder": given("'data={name: mnist, directory: raw}'", {"raw": b""}),
    "a folder without the files": given("'data={name: mnist, directory: raw}'", {"raw/readme": b""}),
    "no folder given, and none of TFDS": given("data=mnist"),
    "one of four files missing": idx(labels=None),
    "an empty file": idx(b""),
    "text in place of a .gz": packed(b"no gzip at all"),
    "a .gz cut off": packed(stored(IMAGES)[:-9]),
    "a .gz damaged inside": packed(gzip.compress(IMAGES)[:10] + b"\xff" * 40),
    "labels in place of images": idx(LABELS),
    "a byte too few": idx(IMAGES[:-1]),
    "a .gz with a byte too many": packed(stored(IMAGES + b"\0")),
    "a .gz that unpacks to 3 GB": packed(lambda: stored(IMAGES) + gzip.compress(bytes(2**24)) * 200),
    "a .gz whose header announces 2^96 pixels": packed(stored(b"\0\0\x08\x03" + b"\xff" * 12)),
    "images of 20x20 pixels": idx(idx_bytes(np.zeros((3, 20, 20), np.uint8))),
    "fewer labels than images": idx(labels=idx_bytes(np.zeros(2, np.uint8))),
    "the label 10": idx(labels=idx_bytes(np.full(3, 10, np.uint8))),
    "no image": idx(idx_bytes(np.zeros((0, 28, 28), np.uint8)), idx_bytes(np.zeros(0, np.uint8))),
}


def emnist(split, more=None, labels=(1, 5)):
    """A split of EMNIST with these labels, its files changed; None takes one away."""

    def case():
        write_emnist(Path("raw"), split, labels)
        for name, content in (more or {}).items():
            path = Path("raw") / f"emnist-{split}-{name}"
            path.unlink() if content is None else path.write_bytes(content)
        return given(f"'data={{name: emnist, directory: raw, split: {split}}}'")()

    return case


EMNIST = {
    "no folder given, and none of TFDS": given("data=emnist"),
    "a split that is not read": given("'data={name: emnist, split: byclass}'"),
    "the files of another split": given(
        "'data={name: emnist, directory: raw}'", {"raw/emnist-digits-train-images-idx3-ubyte": IMAGES}
    ),
    "one of four files missing": emnist("balanced", {"test-labels-idx1-ubyte.gz": None}),
    "a file cut off": emnist("digits", {"train-images-idx3-ubyte.gz": b"\x1f\x8b"}),
    "letters numbered from 0 on": emnist("letters", labels=(0, 5)),
    "the letter 27": emnist("letters", labels=(27, 5)),
}

# -------------------------------------------------------------------------------------------- CIFAR


def cifar(changed, files=binary_files):
    """CIFAR-10 with these files changed; None takes one away."""
    made = {f"raw/{name}": content for name, content in {**files("cifar10"), **changed}.items()}
    files = {name: content for name, content in made.items() if content is not None}
    return given("'data={name: cifar10, directory: raw}'", files)


def batch(content):
    """CIFAR-10 of the python edition, with this batch."""
    return cifar({"data_batch_2": content}, python_files)


def pickled(**entries):
    return batch(python3_pickle({"data": np.zeros((1, 3072), np.uint8), "labels": [0], **entries}))


def archive(content):
    return given(
        "'data={name: cifar10, directory: cifar-10-binary.tar.gz}'", {"cifar-10-binary.tar.gz": content}
    )


def tar(members):
    """{name: content, or the target of a link}"""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as made:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname, content = tarfile.SYMTYPE, content, b""
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def announced(name, kind=tarfile.REGTYPE):
    """An archive of one member that says it has 8 GB."""
    member = tarfile.TarInfo(name)
    member.size, member.type = 2**33 - 1, kind
    return gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))


WHOLE = binary_files("cifar10")
FOLDER = "cifar-10-batches-bin"

CIFAR = {
    "one batch missing": cifar({"data_batch_3.bin": None}),
    "a batch of no bytes": cifar({"data_batch_1.bin": b""}),
    "a batch cut off": cifar({"test_batch.bin": WHOLE["test_batch.bin"][:-1]}),
    "a batch with the label 10": cifar({"test_batch.bin": b"\x0a" + WHOLE["test_batch.bin"][1:]}),
    "a python batch of no bytes": batch(b""),
    "a python batch that is text": batch(b"<html>moved</html>"),
    "a python batch that is a list": batch(pickle.dumps([1, 2], protocol=2)),
    "a python batch without data": batch(pickle.dumps({"labels": [0]}, protocol=2)),
    "a python batch of floats": pickled(data=np.zeros((1, 3072))),
    "a python batch of 100 bytes an image": pickled(data=np.zeros((1, 100), np.uint8)),
    "a python batch with the label 10": pickled(labels=[10]),
    "a python batch whose labels are a text": pickled(labels="abc"),
    "a python batch with two labels for one image": pickled(labels=[0, 1]),
    "a python batch that would make a folder": batch(pickle.dumps({"data": Attack()}, protocol=2)),
    "class names that would make a folder": cifar(
        {"batches.meta": pickle.dumps(Attack(), protocol=2)}, python_files
    ),
    "a python batch that calls os.system": batch(b"(S'mkdir was_run'\nios\nsystem\n."),
    "a python batch that evaluates text": batch(b"\x80\x02c__builtin__\neval\nU\x03abc\x85R."),
    "a python batch that makes an array of 2^28 entries": batch(
        b"\x80\x02cnumpy\nndarray\nJ\0\0\0\x10\x85R."
    ),
    "a python batch that remembers at place 2^31": batch(b"\x80\x02Nr\xff\xff\xff\x7f."),
    "a python batch that announces 2^40 bytes": batch(b"\x80\x04\x8e" + struct.pack("<Q", 2**40)),
    "an archive of no bytes": archive(b""),
    "an archive that is a web page": archive(b"<html>moved</html>"),
    "an archive cut off": archive(lambda: tar({f"{FOLDER}/{n}": c for n, c in WHOLE.items()})[:20_000]),
    "an archive of other files": archive(tar({"other/readme": b"x"})),
    "an archive with a batch of 8 GB": archive(announced(f"{FOLDER}/data_batch_1.bin")),
    "an archive with something else of 8 GB": archive(announced("other")),
    "an archive with a header of 8 GB": archive(announced("other", tarfile.XHDTYPE)),
    "an archive with a name of 8 GB": archive(announced("other", tarfile.GNUTYPE_LONGNAME)),
    "an archive whose paths lead out of it": archive(tar({"../escaped": b"x", "/tmp/escaped": b"x"})),
    "an archive whose batches are links": archive(tar({f"{FOLDER}/data_batch_1.bin": "/etc/passwd"})),
}

# ------------------------------------------------------------------------------- TFDS folders, plays


@functools.cache
def prepared():
    """The files of a TFDS folder of MNIST."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write_idx(Path(folder) / "raw", 30, 10)
        made = prepare("mnist", Path(folder) / "raw", data_dir=Path(folder) / "tfds")
        return {f"tfds/mnist/{made.name}/{path.name}": path.read_bytes() for path in made.iterdir()}


def tfds(change):
    """A run on that folder, the files whose names hold a key of `change` being another."""

    def case():
        files = dict(prepared())
        for part, new in change.items():
            (name,) = (name for name in files if part in name)
            files[name] = new(files[name])
        write(files)
        return given("data=mnist")()

    return case


def play(text):
    return given("'data={name: shakespeare, directory: play.txt}'", {"play.txt": text})


OTHERS = {
    "a TFDS folder with an empty shard": tfds({"-test.array_record": lambda content: b""}),
    "a TFDS folder that lacks examples": tfds(
        {"dataset_info": lambda content: content.replace(b'"10"', b'"11"')}
    ),
    "a TFDS folder in another format": given("data=mnist", {"tfds/mnist/3.0.1/dataset_info.json": "{}"}),
    "no plays": given("'data={name: shakespeare, directory: play.txt}'"),
    "a play without roles": play("Once upon a time.\nThe end.\n"),
    "a play that is a zip archive": play(b"PK\x03\x04\0\0\xff"),
    "a play with a Greek letter": play("KIM.\nOne.\nTw\u03bf.\nThree.\n"),
    "a play that is too short": play("KIM.\nOne.\nTwo.\nThree.\n"),
}


KINDS = {
    "IDX files (MNIST)": IDX,
    "IDX files (EMNIST)": EMNIST,
    "CIFAR archives": CIFAR,
    "`data.file=my.npz`": NPZ,
    "TFDS folders and plays": OTHERS,
    "`from_arrays(...)`": ARRAYS,
}
