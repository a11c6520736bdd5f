"""Data sources: originals and TFDS folders give the same examples, and whatever is wrong is said clearly."""

import dataclasses
import gzip
import hashlib
import http.server
import io
import os
import pickle
import struct
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fedtp_jax import config as cfg
from fedtp_jax.data import prepare as preparing
from fedtp_jax.data import sources, tfds
from fedtp_jax.data.prepare import prepare
from fedtp_jax.data.sources import IMAGE_SETS, from_arrays, load
from fedtp_jax.errors import UserError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(autouse=True)
def empty_tfds_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees the TFDS folder of whoever runs it."""
    root = tmp_path / "tfds"
    monkeypatch.setenv("TFDS_DATA_DIR", str(root))
    return root


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without Debian's package."""
    for name, about in IMAGE_SETS.items():
        monkeypatch.setitem(IMAGE_SETS, name, dataclasses.replace(about, folders=()))


# ------------------------------------------------------------------------------- made-up archives


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


def config_of(name: str, directory: Path | None = None):
    return cfg.DATASETS[name](directory=None if directory is None else str(directory))


def assert_cifar(data, name: str) -> None:
    x, y, x_test, y_test = expected_cifar(name)
    np.testing.assert_array_equal(data.train.x, x)
    np.testing.assert_array_equal(data.train.y, y)
    np.testing.assert_array_equal(data.test.x, x_test)
    np.testing.assert_array_equal(data.test.y, y_test)
    assert data.train.y.dtype == np.int32
    assert data.num_classes == (10 if name == "cifar10" else 100)


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


TRAIN_X = "train-images-idx3-ubyte.gz"


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


# -------------------------------------------------------------------------------------------- TFDS


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


@pytest.mark.slow
@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_whole_fashion_mnist_through_tfds(empty_tfds_folder):
    prepare("fashion_mnist")
    assert (
        load(config_of("fashion_mnist", empty_tfds_folder)).fingerprint()
        == load(cfg.FashionMnist()).fingerprint()
    )


# ---------------------------------------------------------------------------------------- download


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`, knows ranges, and notes the range that each request asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.ranges: list[str | None] = []
        self.cut = 0  # how many answers break off half-way


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        content = self.server.files.get(self.path[1:])
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        if content is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if self.server.cut:
            self.server.cut -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with made-up MNIST files that takes the place of the registered addresses."""
    write_idx(tmp_path / "served")
    with Server() as server:
        server.files = {path.name: path.read_bytes() for path in (tmp_path / "served").iterdir()}
        registered = {
            name: (
                f"http://127.0.0.1:{server.server_port}/{name}",
                len(content),
                hashlib.sha256(content).hexdigest(),
            )
            for name, content in server.files.items()
        }
        monkeypatch.setattr(preparing, "_registered", lambda name: registered)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_download(tmp_path, server, empty_tfds_folder):
    prepare("mnist", download=True)
    expected = load(config_of("mnist", tmp_path / "served")).fingerprint()
    assert load(config_of("mnist")).fingerprint() == expected
    kept = empty_tfds_folder / "downloads" / "fedtp" / "mnist"
    assert sorted(path.name for path in kept.iterdir()) == sorted(server.files)
    # What is there is not fetched again.
    prepare("mnist", download=True, data_dir=empty_tfds_folder)
    assert len(server.ranges) == 4


def test_download_resumes(server, empty_tfds_folder):
    part = empty_tfds_folder / "downloads" / "fedtp" / "mnist" / f"{TRAIN_X}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(server.files[TRAIN_X][:1000])
    server.cut = 1
    prepare("mnist", download=True)
    assert "bytes=1000-" in server.ranges
    assert (part.parent / TRAIN_X).read_bytes() == server.files[TRAIN_X]
    assert len(server.ranges) == 5, "the answer that broke off costs one more request, not a new start"


def test_download_refuses_other_content(server, empty_tfds_folder):
    name = next(iter(preparing._registered("mnist")))
    server.files[name] = bytes(len(server.files[name]))
    with pytest.raises(UserError, match="not the registered file"):
        prepare("mnist", download=True)
    assert not (empty_tfds_folder / "mnist").exists()
    assert not list(empty_tfds_folder.rglob(f"{name}*"))


def test_download_of_a_file_that_is_gone(server, empty_tfds_folder):
    server.files = {}
    with pytest.raises(UserError, match="HTTP 404"):
        prepare("mnist", download=True)
    assert len(server.ranges) == 1


def test_download_without_network_fails_soon_and_leaves_nothing(empty_tfds_folder, monkeypatch):
    closed = {"a.gz": ("http://127.0.0.1:9/a.gz", 10, "0" * 64)}
    monkeypatch.setattr(preparing, "_registered", lambda name: closed)
    start = time.perf_counter()
    with pytest.raises(UserError, match=r"cannot download http://127.0.0.1:9/a.gz: .*refused") as caught:
        prepare("mnist", download=True)
    assert time.perf_counter() - start < 5
    assert "fedtp prepare mnist --directory" in str(caught.value)
    assert not empty_tfds_folder.exists()


def test_registered_addresses_are_those_of_tfds():
    for name, files in (("mnist", 4), ("fashion_mnist", 4), ("cifar10", 1), ("cifar100", 1)):
        registered = preparing._registered(name)
        assert len(registered) == files
        for file, (url, size, checksum) in registered.items():
            assert url.endswith(file)
            assert size > 4000
            assert len(checksum) == 64


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
