"""What a run survives of its storage: files damaged or lost, a full disk, folders that cannot be written."""

import functools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import yaml

TINY: dict[str, object] = {
    "partition": {"name": "pathological", "clients": 6, "classes_per_client": 2},
    "model": {"name": "vit", "patch_size": 4, "dim": 8, "depth": 1, "heads": 2, "dim_head": 4, "mlp_dim": 8},
    "method": {"name": "fedtp", "hypernetwork": {"embedding": 4, "hidden": 6, "layers": 1}},
    "training": {"rounds": 200, "cohort_size": 3},
    "evaluation": {"every": 20},
    "checkpoint": {"every": 5},
}
KILLED_AT = 150  # rounds
SAME = ("metrics.csv", "clients.csv", "partition.npz", "config.yaml")
TOLD = ("warning:", "error:", "failed:", "Traceback")
OWN_MOUNTS = ("unshare", "--map-root-user", "--mount")  # mounts of its own, for which no user needs leave
Done = subprocess.CompletedProcess[str]


class UntriedError(Exception):
    """This machine does not let us try."""


def _newest(run: Path) -> list[Path]:
    """Files of the newest checkpoint's state, the largest last."""
    newest = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name))
    return sorted(
        (path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def _replace_by_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def _lose(*files: str) -> Callable[[Path], None]:
    def lose(run: Path) -> None:
        for file in files:
            (run / file).unlink()

    return lose


DAMAGES: dict[str, Callable[[Path], None]] = {
    "newest checkpoint truncated": lambda run: _truncate(_newest(run)[-1]),
    "a bit of the newest checkpoint flipped": lambda run: _flip(_newest(run)[-1]),
    "a file of the newest checkpoint lost": lambda run: _newest(run)[-1].unlink(),
    "metrics.csv lost": _lose("metrics.csv"),
    "a bit of metrics.csv flipped": lambda run: _flip(run / "metrics.csv"),
    "timing.csv, clients.csv, environment.json lost": _lose("timing.csv", "clients.csv", "environment.json"),
    "partition.npz truncated": lambda run: _truncate(run / "partition.npz"),
    "report.html cannot be written": lambda run: _replace_by_folder(run / "report.html"),
}


def measure_faults(folder: Path) -> pd.DataFrame:
    """A row per fault: what the run said, its exit codes, files that differ from a run without fault.

    `folder` is for the runs.
    """
    folder.mkdir(exist_ok=True)
    config, whole, stopped = folder / "tiny.yaml", folder / "whole", folder / "stopped"
    config.write_text(yaml.safe_dump(TINY))
    _fedtp("run", config, "--out", whole)
    process = start("run", config, "--out", stopped)
    _wait_for_rounds(process, stopped, KILLED_AT)
    process.kill()
    process.communicate()
    rows = []
    for number, (fault, damage) in enumerate(DAMAGES.items()):
        run = shutil.copytree(stopped, folder / f"damaged-{number}")
        damage(run)
        rows.append(_row(fault, [_fedtp("resume", run)], run, whole))
    for number, (fault, happen) in enumerate(EVENTS.items()):
        run = folder / f"event-{number}"
        try:
            rows.append(_row(fault, happen(config, stopped, run), run, whole))
        except UntriedError as reason:
            rows.append({"fault": fault, "exit codes": "", "said": f"not tried: {reason}", "lost": 0})
    return pd.DataFrame(rows)


def _row(fault: str, done: list[Done], run: Path, whole: Path) -> dict[str, object]:
    said = [line for one in done for line in one.stderr.splitlines() if line.startswith(TOLD)]
    return {
        "fault": fault,
        "exit codes": " ".join(str(one.returncode) for one in done),
        "said": "; ".join(dict.fromkeys(line.replace(f"{run.parent}/", "") for line in said)) or "nothing",
        "lost": sum((run / name).read_bytes() != (whole / name).read_bytes() for name in SAME),
    }


def _second_process(config: Path, stopped: Path, run: Path) -> list[Done]:
    """While one process is at work, another takes up the same folder."""
    process = start("run", config, "--out", run)
    _wait_for_rounds(process, run, KILLED_AT)
    second = _fedtp("resume", run)
    return [ended(process), second]


def _full_disk(config: Path, stopped: Path, disk: Path) -> list[Done]:
    """The disk fills up while the run is at work; afterwards there is space again."""
    _mount(disk, "size=2m")
    process = start("run", config, "--out", disk / "run")
    _wait_for_rounds(process, disk / "run", 100)
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"0" * 512):
                pass
        except OSError:
            pass
    first = ended(process)
    filler.unlink()
    return [first, _fedtp("resume", disk / "run")]


def _read_only_run(config: Path, stopped: Path, disk: Path) -> list[Done]:
    """A run is started where nothing can be written, and again where it can."""
    _mount(disk, "ro")
    first = _fedtp("run", config, "--out", disk / "run")
    _mount(disk, "remount,rw")
    return [first, _fedtp("run", config, "--out", disk / "run")]


def _read_only_resume(config: Path, stopped: Path, disk: Path) -> list[Done]:
    """A stopped run is taken up where nothing can be written any more, and again where it can."""
    _mount(disk, "size=16m")
    shutil.copytree(stopped, disk / "run")
    _mount(disk, "remount,ro")
    first = _fedtp("resume", disk / "run")
    _mount(disk, "remount,rw")
    return [first, _fedtp("resume", disk / "run")]


def _mount(disk: Path, options: str) -> None:
    """A file system of its own in memory."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(disk)], check=True)


def _on_own_disk(happen: str, config: Path, stopped: Path, run: Path) -> list[Done]:
    """Let it happen in a process that may mount, where `run` is a folder of the run's copy afterwards."""
    disk = run.with_name(run.name + "-disk")
    disk.mkdir()
    command = [*OWN_MOUNTS, sys.executable, "-m", "benchmarks.faults", happen, config, stopped, disk, run]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise UntriedError(f"a file system in memory cannot be mounted ({done.stderr.strip()[-300:]})")
    return [Done(*one) for one in json.loads(done.stdout)]


EVENTS: dict[str, Callable[[Path, Path, Path], list[Done]]] = {
    "a second process takes up the folder": _second_process,
    "disk full while it runs": functools.partial(_on_own_disk, "_full_disk"),
    "started on a read-only disk": functools.partial(_on_own_disk, "_read_only_run"),
    "resumed on a read-only disk": functools.partial(_on_own_disk, "_read_only_resume"),
}


def start(*arguments: object) -> subprocess.Popen[str]:
    """A `fedtp` process."""
    command = [sys.executable, "-m", "fedtp_jax", *map(str, arguments), "--quiet"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> Done:
    """The process when it is done."""
    out, err = process.communicate()
    return Done([], process.returncode, out, err)


def _fedtp(*arguments: object) -> Done:
    return ended(start(*arguments))


def _wait_for_rounds(process: subprocess.Popen[str], run: Path, rounds: int) -> None:
    metrics = run / "metrics.csv"
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") > rounds):
        if process.poll() is not None:
            raise RuntimeError(f"the run ended before round {rounds}: {process.communicate()}")
        time.sleep(0.002)


def _inside() -> None:
    """What `_on_own_disk` starts: the disk is gone with this process, so the run is copied from it."""
    happen, config, stopped, disk, run = sys.argv[1], *map(Path, sys.argv[2:])
    done = globals()[happen](config, stopped, disk)
    shutil.copytree(disk / "run", run)
    print(json.dumps([["", one.returncode, one.stdout, one.stderr] for one in done]))


if __name__ == "__main__":
    _inside()
