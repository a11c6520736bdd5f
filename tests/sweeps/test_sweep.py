"""Sweeps: what is run and what is not run again, stops, failures, mistakes."""

import io
import json
import signal
import time
import warnings
from pathlib import Path

import pytest
from commands import fedtp, start
from rich.console import Console
from sweep_files import BASE, placed, snapshot

from fedtp_jax import Result, load_config, simulate
from fedtp_jax.sweeps import run_combinations as sweeping
from fedtp_jax.sweeps.board import Board

# -------------------------------------------------------------------------------------- what is run

METHODS = {"method.name": ["fedavg", "local"]}


def lines(err):
    """What each finished run's line names."""
    return [line.split(": accuracy")[0] for line in err.splitlines() if ": accuracy" in line]


def contents(folder):
    return {
        p.relative_to(folder): p.read_bytes() for p in Path(folder).rglob("*.csv") if p.name != "timing.csv"
    }


@pytest.mark.slow
def test_everything_is_run_and_nothing_again(file, capsys):
    code, table, err = fedtp(capsys, "sweep", file(grid=METHODS, seeds=[0, 1]))
    assert code == 0
    assert lines(err) == [f"method={m}, seed {s}" for m in ("fedavg", "local") for s in (0, 1)]
    assert err.splitlines()[0].endswith("3 of 4 left")
    for method in ("fedavg", "local"):
        results = [Result.load(f"runs/tiny/method={method}/seed-{seed}") for seed in (0, 1)]
        assert [result.config.seed for result in results] == [0, 1]
        assert f"accuracy {results[1].accuracy['mean']:.4f}" in err
        assert f"{50 * sum(result.accuracy['mean'] for result in results):.2f} ±" in table
    before = snapshot("runs/tiny")
    code, again, err = fedtp(capsys, "sweep", "tiny.yaml", "--out", "runs/tiny")
    assert (code, again, err) == (0, table, "4 of 4 runs are finished already\n")
    assert snapshot("runs/tiny") == before
    # more of everything: what is there stays, under the names that it has
    done = snapshot("runs/tiny")
    pathological = {"name": "pathological", "clients": 6, "classes_per_client": 2}
    grid = {"method.name": ["fedavg"], "partition": [pathological, {"name": "iid", "clients": 6}]}
    code, _, err = fedtp(capsys, "sweep", file(grid=grid, seeds=[0, 2]))
    assert code == 0
    assert lines(err) == ["method=fedavg, seed 2", *(f"partition=iid, seed {seed}" for seed in (0, 2))]
    changed = [path for path, when in done.items() if snapshot("runs/tiny")[path] != when]
    assert {*changed} == {Path("runs/tiny/order.json"), Path("runs/tiny/method=fedavg/seeds.json")}
    # `fedtp resume` of the folder would go on with what was run together last
    assert json.loads(Path("runs/tiny/method=fedavg/seeds.json").read_text())["seeds"] == [2]


def test_a_stopped_sweep_goes_on_bit_for_bit(file, capsys, monkeypatch):
    name = file(grid=METHODS, seeds=[0, 1])

    def stop(self, progress, on_round=sweeping.RunDisplay.on_round):
        on_round(self, progress)
        if (progress.seed, progress.round) == (1, 2):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sweeping.RunDisplay, "on_round", stop)
        code, out, err = fedtp(capsys, "sweep", name, "--out", "stopped")
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == f"interrupted; go on with: fedtp sweep {name} --out stopped"
    assert len(Path("stopped/method=fedavg/seed-1/metrics.csv").read_text().splitlines()) == 1 + 2
    assert not Path("stopped/method=local").exists()
    code, _, err = fedtp(capsys, "sweep", name, "--out", "stopped")
    assert code == 0
    assert lines(err) == ["method=fedavg, seed 1", "method=local, seed 0", "method=local, seed 1"]
    simulate(load_config("base.yaml"), seeds=[0, 1], out="whole")
    assert contents("stopped/method=fedavg") == contents("whole")


def test_a_run_without_its_report_is_finished_without_training(file, capsys):
    fedtp(capsys, "sweep", file(grid={"method.name": ["fedavg"]}))
    run = Path("runs/tiny/method=fedavg/seed-4")
    before = (run / "metrics.csv").read_bytes()
    (run / "report.html").unlink()
    code, _, err = fedtp(capsys, "sweep", "tiny.yaml")
    assert (code, lines(err)) == (0, ["method=fedavg, seed 4"])
    assert (run / "report.html").is_file()
    assert (run / "metrics.csv").read_bytes() == before


def test_a_changed_configuration_is_refused(file, capsys):
    fedtp(capsys, "sweep", file(grid={"method.name": ["fedavg"]}), "--quiet")
    before = snapshot("runs")
    Path("base.yaml").write_text(BASE.replace("rounds: 3", "rounds: 4"))
    code, out, err = fedtp(capsys, "sweep", "tiny.yaml")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert (
        "runs/tiny/method=fedavg: was run with another configuration (training.rounds: 3 there, 4 here)"
        in err
    )
    assert snapshot("runs") == before


BAD = {"training.on_nonfinite": ["stop"], "training.learning_rate": [1e30, 0.1]}


def check_one_failed(code, out, err):
    assert code == 1
    assert lines(err) == ["learning_rate=0.1, seed 0"]
    assert err.splitlines()[-1].startswith("failed: learning_rate=1e+30: ")
    assert "not finite" in err.splitlines()[-1]
    assert "(alone: fedtp resume runs/tiny/learning_rate=1e+30)" in err
    assert "Traceback" not in err
    assert "Left out" not in out and "±" not in out  # one run of one seed


@pytest.mark.slow
def test_one_that_fails_does_not_end_the_others(file, capsys, monkeypatch):
    check_one_failed(*fedtp(capsys, "sweep", file(grid=BAD, seeds=[0])))

    def broken(*_, **__):
        raise MemoryError("too large")

    monkeypatch.setattr(sweeping, "simulate", broken)
    code, _, err = fedtp(capsys, "sweep", file("other.yaml", grid=METHODS))
    assert code == 1
    assert err.splitlines()[-1].startswith("failed: method=local: MemoryError: too large")


def test_a_warning_is_told_once(file):
    (combination,) = placed(file(grid={"method.name": ["local"]}))
    shown, paper = [], io.StringIO()
    board = Board([combination], Console(file=paper))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("always")
        patch.setattr(warnings, "showwarning", lambda message, *_, **__: shown.append(str(message)))
        with board.warnings_once():
            for _ in range(2):
                warnings.warn("x: looks like pixels", stacklevel=1)
        warnings.warn("x: looks like pixels", stacklevel=1)
    assert shown == ["x: looks like pixels"] * 2  # the second is not the board's
    for line in ("warning: x: looks like pixels", "warning: slow", "warning: slow"):
        board.pass_on(combination, line)
    assert paper.getvalue().splitlines() == [f"{combination.name}: warning: slow"]


def test_rows_are_in_the_order_of_compare(file, capsys):
    _, table, _ = fedtp(capsys, "sweep", file(grid={"method.name": ["local", "fedavg"]}, seeds=[0]))
    assert fedtp(capsys, "compare", "runs/tiny")[1] == table
    assert table.index("local") < table.index("fedavg")  # as the file has them


@pytest.mark.slow
def test_processes_end_with_a_sweep_that_is_killed(file, capsys):
    name = file(grid=METHODS, seeds=[0])
    Path("base.yaml").write_text(BASE.replace("rounds: 3", "rounds: 100000"))
    held = [Path(f"runs/tiny/method={method}/seed-0/held.json") for method in ("fedavg", "local")]
    process = start("sweep", name, "--processes", "2")
    try:
        while not all(path.exists() and path.stat().st_size for path in held):
            assert process.poll() is None
            time.sleep(0.1)
        pids = [json.loads(path.read_text())["pid"] for path in held]
        code, _, err = fedtp(capsys, "resume", str(held[0].parent))
        assert code == 2 and f"another process is at work on this run (pid {pids[0]} on " in err
    finally:
        process.kill()
        process.communicate()
    deadline = time.monotonic() + 60
    while any(path.exists() for path in held):
        assert time.monotonic() < deadline, "they go on without the sweep"
        time.sleep(0.1)


@pytest.mark.slow
def test_several_at_once(file, capsys):
    name = file(grid=BAD, seeds=[0])
    check_one_failed(*fedtp(capsys, "sweep", name, "--processes", "2"))
    code, _, err = fedtp(capsys, "sweep", name, "--processes", "2")
    assert code == 1
    assert lines(err) == []
    assert "1 of 2 runs is finished already" in err


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
def test_an_interrupt_stops_all_after_their_round(processes, file, capsys):
    Path("base.yaml").write_text(BASE.replace("rounds: 3", "rounds: 400"))
    name = file(grid=METHODS, seeds=[0])
    process = start("sweep", name, "--processes", processes)
    end = time.monotonic() + 240
    metrics = [Path(f"runs/tiny/method={method}/seed-0/metrics.csv") for method in ("fedavg", "local")]
    waits_for = metrics if processes == "2" else metrics[:1]
    while not all(m.exists() and m.read_text().count("\n") > 3 for m in waits_for):
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    again = f"fedtp sweep {name} --out runs/tiny --processes {processes}"
    assert err.splitlines()[-1] == f"interrupted; go on with: {again}"
    assert "Traceback" not in err and "failed" not in err
    for one in waits_for:
        rounds = one.read_text().count("\n") - 1
        assert rounds < 400
        assert (one.parent / "checkpoints" / str(rounds)).is_dir()  # nothing is done twice
    assert metrics[1].exists() == (processes == "2")


# ----------------------------------------------------------------------------------------- mistakes

ONE = {"method.name": ["local"]}
MISTAKES = [
    (
        {"grid": ONE, "seed": [1]},
        "seed: unknown field (did you mean 'seeds'?); the fields of a sweep are: base, ",
    ),
    ({"grid": ONE, "base": None}, "base: got None, expected the path of a configuration file"),
    ({"grid": ONE, "base": "none.yaml"}, "base: none.yaml: there is no such configuration file"),
    ({}, "expected 'grid:' (every combination of {field: [values]}), 'list:'"),
    ({"grid": {}}, "grid: got {}, expected fields with the values of each"),
    ({"grid": ["local"]}, "grid: got ['local'], expected fields"),
    ({"grid": {"method.name": "local"}}, "grid: method.name: got 'local', expected a list of values"),
    ({"grid": {"method.name": []}}, "grid: method.name: got [], expected a list of values"),
    ({"grid": {"method": {"name": ["local"]}}}, "grid: method: got {'name': ['local']}, expected a list"),
    ({"list": []}, "list: got [], expected entries such as {method.name: fedtp"),
    ({"list": ["local"]}, "list: got ['local'], expected entries"),
    ({"grid": {"seed": [1, 2]}}, "grid: seed: is not a field to vary here; give seeds: [0, 1, 2] beside it"),
    ({"grid": {3: [1, 2]}}, "grid: 3: is not a field to vary here; expected section.field"),
    (
        {"grid": {"training.round": [1]}},
        "training.round=1: training.round: unknown field (did you mean 'rounds'?)",
    ),
    (
        {"grid": {"training.rounds": [1, 0]}},
        "training.rounds=0: training.rounds: got 0, expected a number at least 1",
    ),
    (
        {"list": [{"method.name": "fedtq"}]},
        "method.name='fedtq': method.name: got 'fedtq' (did you mean 'fedtp'?)",
    ),
    ({"list": [{"method.name": "local"}, {"method": "local"}]}, "are one configuration; keep one of them"),
    ({"grid": ONE, "seeds": 3}, "seeds: got 3, expected a list of different whole numbers"),
    ({"grid": ONE, "seeds": [1, 1]}, "seeds: got [1, 1], expected a list of different whole numbers"),
    ({"grid": ONE, "seeds": [0, -1]}, "seeds: seed: got -1, expected a number at least 0"),
    ({"grid": ONE, "select": "test_accuracy"}, "select: got 'test_accuracy', expected val_accuracy, "),
    ({"grid": ONE, "select": ["val_loss"]}, "select: got ['val_loss'], expected val_accuracy, "),
    # what only the data tell
    (
        {"grid": ONE, "select": "val_loss"},
        "method=local: select: val_loss, but no example is set aside to choose by",
    ),
    (
        {"grid": {"model.patch_size": [4, 3]}},
        "patch_size=3: model.patch_size: 3 does not divide images of 8x8",
    ),
    ({"grid": {"data": [{"name": "npz", "file": "x.npz"}]}}, "method=fedavg: data.file: x.npz is no file"),
]


@pytest.mark.parametrize(("values", "message"), MISTAKES, ids=[message[:40] for _, message in MISTAKES])
def test_mistakes_exit_with_2_and_one_line_before_anything_is_written(
    values, message, file, tmp_path, capsys
):
    name = file(**values)
    before = snapshot(tmp_path)
    code, out, err = fedtp(capsys, "sweep", name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: tiny.yaml: ")
    assert message in err
    assert snapshot(tmp_path) == before


def test_mistakes_with_files_and_folders(file, tmp_path, capsys):
    name = file(grid=ONE)
    Path("run/method=local").mkdir(parents=True)
    Path("run/method=local/notes.txt").touch()
    Path("seeds").mkdir()
    Path("seeds/seeds.json").touch()
    Path("torn/one").mkdir(parents=True)
    Path("torn/one/seeds.json").write_text("{")
    for arguments, message in (
        (["none.yaml"], "none.yaml: there is no such configuration file"),
        ([name, "--out", "seeds"], "seeds: is not the folder of a sweep; choose another with --out"),
        ([name, "--out", name], f"{name}: is not the folder of a sweep"),
        ([name, "--out", "run"], "run/method=local: exists and is not an empty folder"),
        ([name, "--out", "torn"], "torn/one/seeds.json: is damaged"),
        ([name, "--out", f"{name}/below"], "cannot be created (Not a directory)"),
        ([name, "--processes", "0"], "--processes: got 0, expected a whole number of at least 1"),
    ):
        code, out, err = fedtp(capsys, "sweep", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
        assert message in err
