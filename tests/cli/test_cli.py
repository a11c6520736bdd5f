"""The command line: exit codes, one message per mistake, what a user sees; interrupt and resume."""

import dataclasses
import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from commands import fedtp, start

from fedtp_jax.results.summary import result_as_json

TINY = """\
partition: {name: pathological, clients: 6, classes_per_client: 2}
model: {name: vit, patch_size: 4, dim: 8, depth: 1, heads: 2, dim_head: 4, mlp_dim: 8}
method: {name: fedtp, hypernetwork: {embedding: 4, hidden: 6, layers: 1}}
training: {rounds: 120, cohort_size: 3, learning_rate: 0.1}
evaluation: {every: 20}
checkpoint: {every: 20}
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return str(path)


def test_run_writes_a_numbered_folder_and_reports(file, capsys):
    code, out, _ = fedtp(capsys, "run", file, "training.rounds=2")
    assert code == 0
    assert "test accuracy" in out
    assert "runs/tiny/report.html" in out
    assert Path("runs/tiny/report.html").is_file()
    code, out, err = fedtp(capsys, "run", file, "training.rounds=2", "method.name=fedavg", "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["folder"] == "runs/tiny-2"
    assert (result["method"], result["data"], result["seed"], result["round"]) == ("fedavg", "digits", 0, 2)
    assert 0 <= result["test_last"] <= 1
    code, out, _ = fedtp(capsys, "resume", "runs/tiny-2", "--quiet")
    assert code == 0
    assert f"{result['test_last']:.4f}" in out


@pytest.mark.slow
def test_json_has_no_infinity(whole):
    history = whole[0].history.assign(test_loss=np.inf)
    result = dataclasses.replace(whole[0], history=history)
    written = json.dumps(result_as_json(result, Path("run")))
    assert json.loads(written, parse_constant=pytest.fail)["test_loss"] is None


def test_version(capsys):
    code, out, _ = fedtp(capsys, "--version")
    assert code == 0
    assert out[0].isdigit()


def test_diverging_run_exits_with_1(file, capsys):
    code, _, err = fedtp(capsys, "run", file, "training.learning_rate=1e30", "--quiet")
    assert code == 1
    assert "not finite" in err
    assert "learning_rate" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("methods", ["fedavg", "fedprox", "local", "fedper", "vanilla", "fedtp"]),
        ("models", ["vit"]),
        ("datasets", ["digits", "fashion_mnist", "mnist", "emnist", "cifar10", "cifar100", "npz", "arrays"]),
        (
            "partitions",
            ["iid", "dirichlet", "pathological", "pachinko", "natural", "file", "noniid-labeluni"],
        ),
    ],
)
def test_list_explains_every_name(what, names, capsys):
    code, out, _ = fedtp(capsys, "list", what)
    assert code == 0
    for name in names:
        assert name in out


def test_help_explains_every_section_and_field(capsys):
    code, out, _ = fedtp(capsys, "run", "--help")
    assert code == 0
    for field in ("training.rounds=100", "partition.alpha=0.3", "method.mu=1.0", "engine.lanes=auto"):
        assert field in out


def test_partition_shows_a_table_and_saves_lists_and_picture(file, tmp_path, capsys):
    code, out, _ = fedtp(capsys, "partition", file, "--out", str(tmp_path / "shown"))
    assert code == 0
    assert "fingerprint" in out
    assert (tmp_path / "shown" / "partition.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "shown" / "partition.csv").read_text().startswith("client,train,train_0,")
    saved = str(tmp_path / "shown" / "partition.npz")
    code, again, _ = fedtp(capsys, "partition", file, f"partition={{name: file, file: {saved}}}")
    assert code == 0
    assert again.split("fingerprint ")[1].split()[0] == out.split("fingerprint ")[1].split()[0]


@pytest.mark.slow
def test_own_npz(file, capsys, tmp_path):
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (60, 8, 8)).astype(np.uint8), random.integers(0, 3, 60)
    np.savez(tmp_path / "mine.npz", x=x, y=y, groups=np.arange(60) // 10, kind="image")
    code, _, err = fedtp(
        capsys,
        "run",
        file,
        "data={name: npz, file: mine.npz}",
        "partition=natural",
        "training.rounds=1",
        "--quiet",
    )
    assert (code, err) == (0, "")


def wait_for_rounds(process, metrics, rounds, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if metrics.exists() and len(metrics.read_bytes().splitlines()) > rounds:
            return
        time.sleep(0.01)
    raise AssertionError(f"no {rounds} rounds: {process.communicate()}")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_saves_and_says_how_to_go_on(number, file, tmp_path):
    process = start("run", file, "--out", str(tmp_path / "run"), "--quiet")
    wait_for_rounds(process, tmp_path / "run" / "metrics.csv", 30)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"fedtp resume {tmp_path / 'run'}" in err
    assert "Traceback" not in err
    rounds = len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) - 1
    assert (tmp_path / "run" / "checkpoints" / str(rounds)).is_dir()  # nothing is done twice
