"""Where a run's files lie: known from any folder, said anew when moved; what is in them counts."""

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from commands import fedtp
from tiny_run import TINY, Stopped, stop_after

from fedtp_jax import UserError, config, simulate
from fedtp_jax.config.plain import to_yaml
from fedtp_jax.sweeps.combinations import check, place, read_sweep

FEW = dataclasses.replace(
    TINY,
    data=config.Npz("mine.npz"),
    partition=config.Iid(clients=6),
    method=config.FedAvg(),
    training=dataclasses.replace(TINY.training, rounds=2),
    checkpoint=config.Checkpoint(every=1),
)


def write(path, seed=0):
    random = np.random.default_rng(seed)
    y = np.arange(120) % 3
    x = random.integers(0, 256, (120, 8, 8, 1)).astype(np.uint8)
    np.savez(path, x=x, y=y)


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A run on mine.npz in the current folder, stopped after round 1; here is another folder."""
    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    monkeypatch.chdir(home)
    write("mine.npz")
    with pytest.raises(Stopped):
        simulate(FEW, out="run", on_round=stop_after(1))
    monkeypatch.chdir(other)
    return home


def test_a_run_is_resumed_from_any_folder_and_with_moved_data(stopped, capsys):
    copy = Path(shutil.copytree(stopped / "run", "copy"))
    assert fedtp(capsys, "resume", str(stopped / "run"), "--quiet")[::2] == (0, "")
    (stopped / "mine.npz").rename("elsewhere.npz")
    code, out, err = fedtp(capsys, "resume", str(copy))
    assert (code, out) == (2, "")
    assert re.search(
        r"home/mine\.npz.*where they lie elsewhere now: fedtp resume FOLDER data\.file=PATH", err
    )
    assert fedtp(capsys, "resume", str(copy), "data.file=elsewhere.npz", "--quiet")[::2] == (0, "")
    assert (copy / "metrics.csv").read_bytes() == (stopped / "run" / "metrics.csv").read_bytes()
    code, out, err = fedtp(capsys, "resume", str(copy), "data.file=elsewhere.npz", "seed=9")
    assert code == 2 and "seed: 0 there, 9 here" in err


def test_what_was_changed_at_its_place_is_refused(stopped):
    write(stopped / "mine.npz", seed=1)
    with pytest.raises(UserError, match="was run on another data"):
        simulate(stopped / "run" / "config.yaml", out=stopped / "run", resume=True)


@pytest.mark.slow
def test_a_trace_that_was_changed_is_refused(tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("client,first_round,last_round\n0,1,1\n")
    there = dataclasses.replace(TINY.training, participation=config.Participation(trace=str(trace)))
    settings = dataclasses.replace(TINY, training=there, checkpoint=config.Checkpoint(every=1))
    with pytest.raises(Stopped):
        simulate(settings, out=tmp_path / "run", on_round=stop_after(1))
    trace.write_text("client,first_round,last_round\n1,1,1\n")
    with pytest.raises(UserError, match=r"was run on another training\.participation\.trace"):
        simulate(settings, out=tmp_path / "run", resume=True)


def test_a_sweep_does_not_go_on_with_a_file_that_was_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("mine.npz")
    Path("base.yaml").write_text(to_yaml(FEW))
    sweep = {"base": "base.yaml", "list": [{"method.name": "fedavg"}], "seeds": [0, 1]}
    Path("sweep.yaml").write_text(yaml.safe_dump(sweep))
    (combination,) = place(Path("sweep.yaml"), read_sweep(Path("sweep.yaml")), tmp_path / "out")
    check(Path("sweep.yaml"), [combination])
    combination.begin()
    simulate(combination.config, seed=0, out=combination.run(0))
    check(Path("sweep.yaml"), [combination])
    write("mine.npz", seed=1)
    with pytest.raises(UserError, match=r"sweep\.yaml: .*: data: is not what .*seed-0 was run on"):
        check(Path("sweep.yaml"), [combination])
