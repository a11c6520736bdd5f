"""Two processes of two devices each do what one process of four does; one of them writes, both end alike."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedtp_jax import Result
from fedtp_jax.cli import main
from fedtp_jax.data.sources import load

ROOT = Path(__file__).parent.parent
TINY = """\
partition: {name: dirichlet, alpha: 0.5, clients: 12, min_size: 10}
model: {name: vit, patch_size: 4, dim: 8, depth: 1, heads: 2, dim_head: 4, mlp_dim: 8}
method: {name: fedtp_per, hypernetwork: {embedding: 4, hidden: 6, layers: 1}}
training: {rounds: 6, cohort_size: 8, held_out: 2}
engine: {wave_size: 4}
evaluation: {every: 2}
checkpoint: {every: 2, keep: 3}
"""
# One process's part, from Python: process 1 alone stops the run after round 3.
STOPPED = """
import json, sys, jax
process, coordinator, file, out = sys.argv[1:]
jax.distributed.initialize(coordinator, 2, int(process))
from fedtp_jax import Result, simulate
from fedtp_jax.data.sources import load
from fedtp_jax.learning import sharded

sharded.WIDE = 8  # no process has the whole hypernetwork

def on_round(progress):
    if progress.round == 3 and process == "1":
        raise KeyboardInterrupt

try:
    simulate(file, out=out, on_round=on_round)
except KeyboardInterrupt:
    result = Result.load(out)
    reached = result.personalize_held_out(load(result.config.data), modes=["fit"])
    said = {"rounds": len(result.history), "fitted": reached.clients["fit"].tolist()}
    print(json.dumps(said), file=sys.stderr)
jax.distributed.shutdown()
"""
AGREED = """
import dataclasses, sys, jax, numpy as np
process, coordinator = int(sys.argv[1]), sys.argv[2]
jax.distributed.initialize(coordinator, 2, process)
from fedtp_jax import SimulationConfig, UserError, config, simulate
from fedtp_jax.core import hosts

def raised(kind, call):
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError("nothing was raised")

def fail_on(which, error):
    def fail():
        if process == which:
            raise error
    return fail

for which in (0, 1):
    kind, text = (KeyError, "'b'") if process == which else (RuntimeError, f"process {which}: KeyError('b')")
    assert raised(kind, lambda: hosts.together(fail_on(which, KeyError("b")))) == text
    assert raised(UserError, lambda: hosts.together(fail_on(which, UserError("a")))) == "a"
large = hosts.from_first(lambda: {"a": np.arange(3_000_000), "process": process})
assert large["process"] == 0 and (large["a"] == np.arange(3_000_000)).all()
assert raised(UserError, lambda: simulate(SimulationConfig(seed=process))).startswith("config: process 1 has")
some = SimulationConfig(engine=config.Engine(devices=2))
assert "all 4 of the 2 processes" in raised(UserError, lambda: simulate(some))
jax.distributed.shutdown()
"""


def start(*arguments, devices=2, **environment):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_NUM_CPU_DEVICES": str(devices),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        **environment,
    }
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ends(*processes):
    """(exit code, standard output, standard error) of each."""
    try:
        told = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(processes, told, strict=True)]


def free_port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def script(code, *words):
    """Both processes' ends; the code is told its process and the coordinator, and then `words`."""
    where = f"localhost:{free_port()}"
    return ends(*(start("-c", code, process, where, *words) for process in (0, 1)))


def fedtp(*words):
    """Both processes' ends; the flags say which is which."""
    flags = "--coordinator", f"localhost:{free_port()}", "--processes", 2, "--process-id"
    return ends(*(start("-m", "fedtp_jax", *words, *flags, process) for process in (0, 1)))


def slurm(*words):
    """Both processes' ends; the environment says which is which."""
    job = {"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
    job["JAX_COORDINATOR_PORT"] = str(free_port())
    command = "-m", "fedtp_jax", *words, "--distributed"
    return ends(*(start(*command, SLURM_PROCID=i, SLURM_LOCALID=i, **job) for i in "01"))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def same_run(a, b):
    for name in ("metrics.csv", "clients.csv"):
        pd.testing.assert_frame_equal(pd.read_csv(a / name), pd.read_csv(b / name), rtol=1e-4)
    one, other = Result.load(a).state, Result.load(b).state
    for path, leaf in one.shared.items():
        np.testing.assert_allclose(leaf, other.shared[path], rtol=1e-3, atol=1e-5, err_msg=path)
    ids = np.arange(one.rows.clients)
    np.testing.assert_array_equal(one.rows.written, other.rows.written)
    for path, rows in one.rows.take(ids).items():
        np.testing.assert_allclose(rows, other.rows.take(ids)[path], rtol=1e-3, atol=1e-5, err_msg=path)


@pytest.mark.slow
def test_two_processes_do_what_one_does(file, tmp_path):
    alone, two, one = tmp_path / "alone", tmp_path / "two", tmp_path / "one"
    [(code, _, err)] = ends(start("-m", "fedtp_jax", "run", file, "--out", alone, "--quiet", devices=4))
    assert code == 0, err

    ended = script(STOPPED, file, two)
    assert [code for code, *_ in ended] == [0, 0], ended
    said = [json.loads(err.splitlines()[-1]) for *_, err in ended]
    result = Result.load(two)
    fitted = result.personalize_held_out(load(result.config.data), modes=["fit"]).clients["fit"]
    assert said[0] == said[1]
    assert said[0]["rounds"] == len(result.history) == 3
    np.testing.assert_allclose(said[0]["fitted"], fitted, atol=0.03)
    shutil.copytree(two, one)

    (code, out, err), second = fedtp("resume", two, "--json")
    assert (code, second) == (0, (0, "", "")), err
    assert json.loads(out)["round"] == 6
    same_run(two, alone)
    assert {path.name for path in two.iterdir()} == {path.name for path in alone.iterdir()}
    assert sorted(path.name for path in (two / "checkpoints").iterdir()) == ["3", "4", "6"]

    [(code, _, err)] = ends(start("-m", "fedtp_jax", "resume", one, "--quiet", devices=2))
    assert code == 0, err
    assert "engine.devices: 2 here, 4 before" in err
    same_run(one, alone)


@pytest.mark.slow
def test_what_one_raises_all_raise():
    ended = script(AGREED)
    assert [code for code, *_ in ended] == [0, 0], ended


@pytest.mark.slow
def test_a_folder_that_exists_ends_both_with_one_message(file, tmp_path):
    first, second = slurm("run", file, "--out", tmp_path)
    assert (first[:2], second) == ((2, ""), (2, "", ""))
    assert "exists and is not an empty folder" in first[2]
    assert first[2].count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--distributed"], "--distributed: found no trace of SLURM"),
        (
            ["--coordinator", "localhost:{port}", "--processes", "2", "--process-id", "0"],
            "did not meet in 1 s",
        ),
        (
            ["--coordinator", "localhost:{port}", "--processes", "2", "--process-id", "1"],
            "did not meet in 1 s",
        ),
    ],
)
def test_nobody_else_is_there(flags, message):
    code = (
        "import sys; from fedtp_jax.cli import distributed, main; distributed.TIMEOUT = 1; main(sys.argv[1:])"
    )
    flags = [flag.format(port=free_port()) for flag in flags]
    [(code, out, err)] = ends(start("-c", code, "run", "some.yaml", *flags))
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


COMPLETE = ["--coordinator", "localhost:1234", "--processes", "2", "--process-id", "1"]
MISTAKES = [
    (COMPLETE[:2], "--processes: is missing"),
    (COMPLETE[2:], "--coordinator: is missing"),
    ([*COMPLETE[:4], "--distributed"], "--process-id: is missing"),
    (
        ["--coordinator", "localhost", *COMPLETE[2:]],
        "--coordinator: got 'localhost', expected a host and a port",
    ),
    ([*COMPLETE[:5], "2"], "--process-id: got 2, expected 0 to 1"),
    ([*COMPLETE[:3], "0", *COMPLETE[4:]], "--processes: got 0"),
]


@pytest.mark.parametrize(("flags", "message"), MISTAKES, ids=[" ".join(flags) for flags, _ in MISTAKES])
@pytest.mark.parametrize("command", ["run", "resume"])
def test_wrong_flags_exit_with_2_and_one_line(command, flags, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "somewhere", *flags])
    captured = capsys.readouterr()
    assert (caught.value.code, captured.out) == (2, "")
    assert message in captured.err
    assert captured.err.count("\n") == 1
