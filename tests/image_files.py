"""Made-up files of the published image sets, in their true layouts."""

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np

from fedtp_jax import config as cfg


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, train: int = 300, test: int = 40, packed: bool = True) -> dict[str, np.ndarray]:
    """The four IDX files with random images; returns their arrays."""
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    arrays = {}
    for split, count in (("train", train), ("t10k", test)):
        arrays[f"{split}-images-idx3-ubyte"] = rng.integers(0, 256, (count, 28, 28), np.uint8)
        arrays[f"{split}-labels-idx1-ubyte"] = rng.integers(0, 10, count, np.uint8)
    for name, array in arrays.items():
        content = idx_bytes(array)
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return arrays


L = np.zeros((28, 28), np.uint8)  # upright, as it is read
L[4:24, 6:9], L[21:24, 6:18] = 255, 200


def write_emnist(folder: Path, split: str = "balanced", labels=(0, 10, 36, 46)) -> None:
    """The four IDX files of made-up Ls with these labels, the first one the brightest."""
    images = np.stack([(L * share).astype(np.uint8) for share in np.linspace(1, 0.5, len(labels))])
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "test"):
        for kind, array in (("images-idx3", images.swapaxes(1, 2)), ("labels-idx1", np.uint8(labels))):
            content = gzip.compress(idx_bytes(np.ascontiguousarray(array)))
            (folder / f"emnist-{split}-{name}-{kind}-ubyte.gz").write_bytes(content)


def cifar_batches(name: str, per_batch: int = 4) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """File stem -> planes [M, 3072], coarse labels and labels [M], all uint8."""
    rng = np.random.default_rng(1)
    stems = (
        [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"] if name == "cifar10" else ["train", "test"]
    )
    classes = 10 if name == "cifar10" else 100
    return {
        stem: (
            rng.integers(0, 256, (per_batch, 3072), np.uint8),
            rng.integers(0, 20, per_batch, np.uint8),
            rng.integers(0, classes, per_batch, np.uint8),
        )
        for stem in stems
    }


def binary_files(name: str) -> dict[str, bytes]:
    files = {}
    for stem, (planes, coarse, fine) in cifar_batches(name).items():
        columns = [fine[:, None], planes] if name == "cifar10" else [coarse[:, None], fine[:, None], planes]
        files[f"{stem}.bin"] = np.concatenate(columns, axis=1).tobytes()
    if name == "cifar10":
        files["batches.meta.txt"] = "\n".join(f"class {i}" for i in range(10)).encode() + b"\n\n"
    else:
        files["coarse_label_names.txt"] = "\n".join(f"super {i}" for i in range(20)).encode() + b"\n"
        files["fine_label_names.txt"] = "\n".join(f"class {i}" for i in range(100)).encode() + b"\n"
    return files


def python2_pickle(entries: dict[str, np.ndarray | list[int]]) -> bytes:
    """A dict of uint8 arrays and lists of small integers, opcode by opcode as Python 2's cPickle wrote it."""

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()

    def integer(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    out = b"\x80\x02}("
    for key, value in entries.items():
        out += text(key)
        if isinstance(value, list):
            out += b"](" + b"".join(map(integer, value)) + b"e"
            continue
        out += b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + integer(0) + b"\x85U\x01b\x87R"
        out += b"(" + integer(1) + integer(value.shape[0]) + integer(value.shape[1]) + b"\x86"
        out += b"cnumpy\ndtype\nU\x02u1" + integer(0) + integer(1) + b"\x87R"
        out += b"(" + integer(3) + b"U\x01|NNN" + integer(-1) + integer(-1) + integer(0) + b"tb"
        out += b"\x89T" + struct.pack("<i", value.size) + value.tobytes() + b"tb"
    return out + b"u."


def python_files(name: str, dump=python2_pickle) -> dict[str, bytes]:
    files = {}
    for stem, (planes, coarse, fine) in cifar_batches(name).items():
        if name == "cifar10":
            entries = {"data": planes, "labels": fine.tolist()}
        else:
            entries = {"data": planes, "coarse_labels": coarse.tolist(), "fine_labels": fine.tolist()}
        files[stem] = dump(entries)
    return files


def python3_pickle(entries: dict) -> bytes:
    return pickle.dumps(entries, protocol=2)


FOLDERS = {
    ("cifar10", "binary"): ("cifar-10-batches-bin", "cifar-10-binary.tar.gz"),
    ("cifar10", "python"): ("cifar-10-batches-py", "cifar-10-python.tar.gz"),
    ("cifar100", "binary"): ("cifar-100-binary", "cifar-100-binary.tar.gz"),
    ("cifar100", "python"): ("cifar-100-python", "cifar-100-python.tar.gz"),
}


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_tar(path: Path, folder: str, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def config_of(name: str, directory: Path | None = None):
    name, _, split = name.partition("/")
    more = {"split": split} if split else {}
    return cfg.DATASETS[name](directory=None if directory is None else str(directory), **more)


TRAIN_X = "train-images-idx3-ubyte.gz"


def expected_cifar(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Train x, train y, test x, test y, pixel by pixel from the planes."""
    *train, test = cifar_batches(name).values()

    def images(planes: np.ndarray) -> np.ndarray:
        out = np.empty((len(planes), 32, 32, 3), np.uint8)
        for channel in range(3):
            out[..., channel] = planes[:, 1024 * channel : 1024 * (channel + 1)].reshape(-1, 32, 32)
        return out

    x, y = np.concatenate([b[0] for b in train]), np.concatenate([b[2] for b in train])
    return images(x), y, images(test[0]), test[2]


def assert_cifar(data, name: str) -> None:
    x, y, x_test, y_test = expected_cifar(name)
    np.testing.assert_array_equal(data.train.x, x)
    np.testing.assert_array_equal(data.train.y, y)
    np.testing.assert_array_equal(data.test.x, x_test)
    np.testing.assert_array_equal(data.test.y, y_test)
    assert data.train.y.dtype == np.int32
    assert data.num_classes == (10 if name == "cifar10" else 100)
