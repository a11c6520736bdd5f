"""Runs that are killed (SIGKILL) at random moments and taken up again, against runs that were left alone."""

import functools
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure

from benchmarks.faults import SAME, TINY, ended, measure_faults, start
from benchmarks.pictures import grouped_bars, panels
from benchmarks.results import Outcome
from fedtp_jax import Result, load_data
from fedtp_jax.comparison.compared_run import run_folders

Process = subprocess.Popen[str]
KILLS, LIVES, ROUNDS = 216, 5, 100  # kills in all, at most so many of one run, rounds of a run
DESCRIPTION = f"""\
Kills: `fedtp run` (or `fedtp sweep`) is killed with SIGKILL, taken up, killed again, up to {LIVES} times
before it may end; its moments are drawn at random, and aimed so that every phase is hit. "lost" counts what
differs, bit for bit, from a run that was left alone: leaves of the final state, metrics.csv, clients.csv,
partition.npz, config.
The phase is what the folder shows after the kill: nothing new yet, between two rounds' rows, a checkpoint
half written, clients.csv half written, all rounds done but not the report.

Faults: a run is stopped by SIGKILL, something happens to its files or its disk, and it is taken up again (or,
in the last four, it happens while it is at work); what it said, its exit codes, and the files that differ
from those of a run without fault.
"""
BASE = TINY | {
    "training": {"rounds": ROUNDS, "cohort_size": 3},
    "evaluation": {"every": 10},
    "engine": {"devices": 1},
}
LARGE_DIGITS = "digits.npz"  # 16x16 pixels, for models that halve them several times
HYPERNETWORK = {"embedding": 4, "hidden": 6, "layers": 1}
LOSSES = {"rounds": ROUNDS, "cohort_size": 3, "participation": {"dropout": 0.3, "stragglers": 0.5}}
RUNS: dict[str, dict[str, object]] = {
    "fedtp": {},
    "fedtp, two devices": {"engine": {"devices": 2}},
    "fedtp, dropout and stragglers": {"training": LOSSES},
    "fedtp_rod": {"method": {"name": "fedtp_rod", "hypernetwork": HYPERNETWORK}},
    "pfedhn": {"method": {"name": "pfedhn", "hypernetwork": HYPERNETWORK}},
    "vanilla": {"method": "vanilla"},
    "vanilla, rows on disk": {"method": "vanilla", "engine": {"devices": 1, "rows": "disk"}},
    "fedper": {"method": "fedper"},
    "fedbn": {"method": "fedbn"},
    "fedrod": {"method": "fedrod"},
    "fedproto": {"method": "fedproto"},
    "pfedme": {"method": "pfedme"},
    "local": {"method": "local"},
    "fedavg, FedAdam": {"method": "fedavg", "server": {"optimizer": "adam", "learning_rate": 0.01}},
    "fedbn, batch norm": {
        "method": "fedbn",
        "model": {"name": "cnn_bn", "kernels": 2},
        "data": {"name": "npz", "file": LARGE_DIGITS},
    },
    "local, 1,500 clients": {
        "method": "local",
        "partition": {"name": "sampled", "clients": 1500},
        "evaluation": {"every": 2},
    },
    "fedtp, two seeds": {},
    "fedtp and fedper, two seeds, a sweep": {},
}
# how a run is started where it is not by `fedtp run CONFIG`, and how it is taken up
SEEDS = ("--seeds", "0", "1")
SWEEP = {"grid": {"method.name": ["fedtp", "fedper"]}, "seeds": [0, 1]}


class Life(NamedTuple):
    """What happened to one run: phases of its kills, and what differs at its end."""

    phases: list[str]
    lost: list[str]


def measure(out: Path) -> Outcome:
    """About 50 minutes on 2 cores."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")  # resumed runs find their programs
        kills = kills_table(RUNS, KILLS, Path(folder))
        faults = measure_faults(Path(folder) / "faults")
    lost = int(kills["lost"].iloc[-1] + faults["lost"].sum())
    failure = f"{lost} files or leaves were lost" if lost else ""
    return Outcome(DESCRIPTION, {"Kills": kills, "Faults": faults}, _picture(kills), failure)


def kills_table(runs: dict[str, dict[str, object]], kills: int, folder: Path) -> pd.DataFrame:
    """A row per run and the total: kills by phase, runs that ended, what was lost."""
    draw, rows = random.Random(0), []
    for number, (name, settings) in enumerate(runs.items()):
        wanted = kills * (number + 1) // len(runs) - kills * number // len(runs)
        lives = list(_lives(name, settings, folder / f"{number}", wanted, draw))
        phases = Counter(phase for life in lives for phase in life.phases)
        lost = [difference for life in lives for difference in life.lost]
        rows.append({"run": name, "kills": wanted, **{p: phases[p] for p in AIMS}, "runs": len(lives)})
        rows[-1]["lost"] = len(lost)
        print(rows[-1], *lost, flush=True)
    table = pd.DataFrame(rows)
    total = {"run": "all", **table.drop(columns="run").sum().to_dict()}
    return pd.concat([table, pd.DataFrame([total])], ignore_index=True)


def _lives(
    name: str, settings: dict[str, object], folder: Path, kills: int, draw: random.Random
) -> Iterator[Life]:
    """Runs of one configuration until it was killed so often."""
    folder.mkdir(parents=True)
    commands = _commands(name, settings, folder)
    whole = folder / "whole"
    done = ended(commands.start(whole))
    if done.returncode:
        raise RuntimeError(f"a run that nobody stopped failed: {done.stderr}")
    number = 0
    while kills:
        number += 1
        phases = _live(commands, folder / f"run-{number}", min(kills, LIVES), _rounds(whole), draw)
        kills -= len(phases)
        lost = [
            what
            for run in run_folders(whole)
            for what in differences(folder / f"run-{number}" / run.relative_to(whole), run)
        ]
        yield Life(phases, lost)


class Commands(NamedTuple):
    """(folder) -> process: how it is begun, and taken up."""

    start: Callable[[Path], Process]
    go_on: Callable[[Path], Process]


def _commands(name: str, settings: dict[str, object], folder: Path) -> Commands:
    """How the runs of this name are begun and taken up; their configuration is written to `folder`."""
    file = folder / "config.yaml"
    digits = load_data("digits")
    x, y = (np.concatenate([getattr(part, name) for part in (digits.train, digits.test)]) for name in "xy")
    np.savez(folder / LARGE_DIGITS, x=x.repeat(2, axis=1).repeat(2, axis=2), y=y)
    file.write_text(yaml.safe_dump(BASE | settings).replace(LARGE_DIGITS, str(folder / LARGE_DIGITS)))
    if "sweep" in name:
        sweep = folder / "sweep.yaml"
        sweep.write_text(yaml.safe_dump({"base": file.name, **SWEEP}))
        again = functools.partial(_out, "sweep", sweep)
        return Commands(again, again)
    begin = functools.partial(_out, "run", file, *(SEEDS if "seeds" in name else ()))
    return Commands(begin, lambda run: start("resume", run))


def _out(*arguments: object) -> Process:
    *command, folder = arguments
    return start(*command, "--out", folder)


def _live(commands: Commands, run: Path, kills: int, all_rounds: int, draw: random.Random) -> list[str]:
    """One run to its end, killed at most so often; the phases in which it was."""
    phases: list[str] = []
    while True:
        begun = (run / "config.yaml").exists() or (run / "seeds.json").exists()
        process = commands.go_on(run) if begun else commands.start(run)
        if len(phases) < kills:
            rounds = _rounds(run)
            aim = draw.choice(list(AIMS)) if rounds < all_rounds else "report"
            away = ROUNDS - rounds % ROUNDS if aim == "report" else draw.randint(1, 40)
            target = min(rounds + away, all_rounds)
            while process.poll() is None and not AIMS[aim](run, target):
                time.sleep(0.0002)
            if aim != "clients.csv":  # it is there for a moment alone
                time.sleep(draw.random() * (1.5 if aim == "start" else 0.01))
            process.send_signal(signal.SIGKILL)
        done = ended(process)
        if done.returncode == 0:
            return phases
        if done.returncode != -signal.SIGKILL:
            raise RuntimeError(f"{run} ended with exit code {done.returncode}: {done.stderr}")
        phases.append(_phase(run, rounds, all_rounds))


# When to strike, by what is aimed at: (folder, rows to wait for) -> whether it is time.
AIMS: dict[str, Callable[[Path, int], bool]] = {
    "start": lambda run, rows: True,
    "rounds": lambda run, rows: _rounds(run) >= rows,
    "checkpoint": lambda run, rows: _rounds(run) >= rows and _half_written(run),
    "clients.csv": lambda run, rows: _half_table(run),
    "report": lambda run, rows: _rounds(run) >= rows,
}


def _phase(run: Path, before: int, all_rounds: int) -> str:
    """What the folder shows of the moment of the kill."""
    if _half_written(run):
        return "checkpoint"
    if _half_table(run):
        return "clients.csv"
    rounds = _rounds(run)
    return "report" if rounds >= all_rounds else "rounds" if rounds > before else "start"


def _runs(folder: Path) -> list[Path]:
    """The folder of a run, or those of several that are in it."""
    inner = [*folder.glob("seed-*"), *folder.glob("*/seed-*")]
    return inner or [folder]


def _half_written(folder: Path) -> bool:
    return any(any((run / "checkpoints").glob("*orbax-checkpoint-tmp*")) for run in _runs(folder))


def _half_table(folder: Path) -> bool:
    return any((run / "clients.csv.part").exists() for run in _runs(folder))


def _rounds(folder: Path) -> int:
    files = [run / "metrics.csv" for run in _runs(folder)]
    return sum(max(file.read_bytes().count(b"\n") - 1, 0) for file in files if file.exists())


def differences(run: Path, whole: Path) -> list[str]:
    """What is not the same, bit for bit, in two finished runs."""
    files = [name for name in SAME if (run / name).read_bytes() != (whole / name).read_bytes()]
    states = [_leaves(Result.load(path)) for path in (run, whole)]
    return files + [
        path for path in states[1] if not np.array_equal(states[0][path], states[1][path], equal_nan=True)
    ]


def _leaves(result: Result) -> dict[str, np.ndarray]:
    """All leaves of the state, those of all clients among them."""
    state = result.state
    whole = state._replace(rows=state.rows.take(np.arange(state.rows.clients)))
    paths, _ = jax.tree.flatten_with_path(whole)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in paths}


def _picture(kills: pd.DataFrame) -> Figure:
    figure, (axes,) = panels(1, width=9.0)
    phases = {phase: [float(kills[phase].iloc[-1])] for phase in AIMS}
    grouped_bars(
        axes, f"{kills['kills'].iloc[-1]} kills, lost: {kills['lost'].iloc[-1]}", [""], phases, "kills"
    )
    return figure
