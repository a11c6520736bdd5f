"""Compiled programs between commands: found again, the same bits, bounded, and never in a run's way."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from paths import ROOT

from fedtp_jax.engine import compilation_cache as cache

TINY = """\
partition: {name: pathological, clients: 6, classes_per_client: 2}
model: {name: vit, patch_size: 4, dim: 8, depth: 1, heads: 2, dim_head: 4, mlp_dim: 8}
method: {name: fedtp, hypernetwork: {embedding: 4, hidden: 6, layers: 1}}
training: {rounds: 2, cohort_size: 3}
"""


def run(tmp_path, out, **environment):
    """Standard error of a run of TINY by a process of its own, the user's caches below `tmp_path`."""
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    command = [sys.executable, "-m", "fedtp_jax", "run", str(file), "--out", str(tmp_path / out), "--quiet"]
    own = {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)}
    done = subprocess.run(command, env={**kept, **own, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_the_second_run_reads_its_programs_and_gives_the_same_bits(tmp_path):
    folder = tmp_path / "fedtp_jax" / "xla"
    run(tmp_path, "without", JAX_ENABLE_COMPILATION_CACHE="false")
    assert not folder.exists()
    assert run(tmp_path, "first") == ""
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert not any(name.startswith(cache.OWN) for name in written)
    for program in ("jit_init", "jit__train_wave", "jit__zero_totals", "jit__aggregate", "jit__wave"):
        assert any(name.startswith(program) for name in written), program
    assert run(tmp_path, "second") == ""
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == written
    for file in ("metrics.csv", "clients.csv"):
        first = (tmp_path / "first" / file).read_bytes()
        assert first == (tmp_path / "second" / file).read_bytes()
        assert first == (tmp_path / "without" / file).read_bytes()


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What is asked of a JAX that was told nothing by a user whose cache folder is `tmp_path`."""
    monkeypatch.setattr(cache, "_own", None)
    monkeypatch.setattr(cache, "_shared", set())
    monkeypatch.setattr(cache.atexit, "register", lambda *_: None)
    told = SimpleNamespace(jax_compilation_cache_dir=None, jax_enable_compilation_cache=True)
    told.update = lambda name, value: setattr(told, name, value)
    monkeypatch.setattr(cache.jax, "config", told)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return told


def test_the_oldest_programs_make_room(asked, tmp_path, monkeypatch):
    folder = tmp_path / "fedtp_jax" / "xla"
    folder.mkdir(parents=True)
    for age in range(4):
        path = folder / f"jit_{age}-cache"
        path.write_bytes(bytes(10))
        os.utime(path, (1000 - age, 1000 - age))
    monkeypatch.setattr(cache, "LIMIT", 25)
    cache.keep_programs()
    own = Path(asked.jax_compilation_cache_dir)
    for place in (folder, own):
        assert sorted(path.name for path in place.glob("jit*")) == ["jit_0-cache", "jit_1-cache"]


def test_others_have_whole_programs_alone(asked, tmp_path):
    folder = tmp_path / "fedtp_jax" / "xla"
    cache.keep_programs()
    own = Path(asked.jax_compilation_cache_dir)
    (own / "jit_step-cache").write_bytes(b"half")  # as JAX writes it, in place
    assert list(folder.glob("*-cache")) == []
    (own / "jit_step-cache").write_bytes(b"half and half")
    cache.share_programs()
    assert (folder / "jit_step-cache").read_bytes() == b"half and half"
    cache._close(own)
    assert [path.name for path in folder.iterdir()] == ["jit_step-cache"]


def test_the_folder_of_a_process_that_was_killed_is_deleted(asked, tmp_path):
    folder = tmp_path / "fedtp_jax" / "xla"
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    names = {
        f"{cache.OWN}{socket.gethostname()}-{process.pid}-a": False,
        f"{cache.OWN}{socket.gethostname()}-{os.getpid()}-b": True,
        f"{cache.OWN}elsewhere-1-c": True,
        f"{cache.OWN}elsewhere-1-d": False,
    }
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "jit_half-cache").write_bytes(b"half")
    os.utime(folder / f"{cache.OWN}elsewhere-1-d", (0, 0))
    cache.keep_programs()
    assert {name: (folder / name).exists() for name in names} == names


def test_what_the_user_told_jax_stays(asked, tmp_path):
    asked.jax_compilation_cache_dir = "mine"
    cache.keep_programs()
    assert asked.jax_compilation_cache_dir == "mine"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_no_mistake(asked, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cache.keep_programs()
    assert asked.jax_compilation_cache_dir is None
