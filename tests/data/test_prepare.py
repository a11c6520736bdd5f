"""Downloading the original files."""

import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_server import Server
from image_files import (
    TRAIN_X,
    config_of,
    write_emnist,
    write_idx,
)

from fedtp_jax.core.errors import UserError
from fedtp_jax.data import prepare as preparing
from fedtp_jax.data.prepare import prepare
from fedtp_jax.data.sources import load


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


def test_download_of_emnist_unpacks_its_archive(tmp_path, server, empty_tfds_folder, monkeypatch):
    write_emnist(tmp_path / "raw")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in (tmp_path / "raw").iterdir():
            archive.write(path, f"gzip/{path.name}")
        archive.writestr("gzip/emnist-byclass-mapping.txt", "0 48")
    content = stream.getvalue()
    server.files = {"gzip.zip": content}
    url = f"http://127.0.0.1:{server.server_port}/gzip.zip"
    registered = {"gzip.zip": (url, len(content), hashlib.sha256(content).hexdigest())}
    monkeypatch.setattr(preparing, "_registered", lambda name: registered)
    prepare("emnist/balanced", download=True)
    expected = load(config_of("emnist/balanced", tmp_path / "raw")).fingerprint()
    assert load(config_of("emnist/balanced")).fingerprint() == expected
    kept = empty_tfds_folder / "downloads" / "fedtp" / "emnist"
    assert sorted(path.name for path in kept.iterdir()) == ["gzip", "gzip.zip"]
    assert len([*(kept / "gzip").iterdir()]) == 4


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
    for name, files in (
        ("mnist", 4),
        ("fashion_mnist", 4),
        ("cifar10", 1),
        ("cifar100", 1),
        ("emnist/letters", 1),
    ):
        registered = preparing._registered(name)
        assert len(registered) == files
        for file, (url, size, checksum) in registered.items():
            assert url.endswith(file)
            assert size > 4000
            assert len(checksum) == 64
