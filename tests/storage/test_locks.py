"""Folders kept for one process, and who has them."""

import fcntl
import os

import pytest

from fedtp_jax import UserError
from fedtp_jax.storage import locks


def test_who_has_a_folder_is_seen_and_nothing_is_written(tmp_path):
    assert locks.at_work(tmp_path) is False
    with locks.keeping(tmp_path, "run"):
        before = [path.stat() for path in (tmp_path, tmp_path / locks.HELD)]
        assert locks.at_work(tmp_path) is True
        assert locks.holder(tmp_path).pid == os.getpid()
        assert [path.stat() for path in (tmp_path, tmp_path / locks.HELD)] == before
        with pytest.raises(UserError, match="another process is at work on this run"):
            locks.lock(tmp_path)
    assert locks.at_work(tmp_path) is False
    assert locks.at_work(tmp_path / "nothing") is False


def test_a_file_system_without_locks_is_not_taken_for_an_answer(tmp_path, monkeypatch):
    def no_locks(file, how):
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locks.keeping(tmp_path, "run"):
        assert locks.at_work(tmp_path) is None


def test_who_only_looks_is_in_nobodys_way(tmp_path, monkeypatch):
    looking = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: os.close(looking))
    with locks.keeping(tmp_path, "run"):
        assert locks.at_work(tmp_path) is True
