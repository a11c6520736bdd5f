"""Runs that are killed (SIGKILL) at random moments and taken up again, against runs that were left alone."""

import os
import random
import signal
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
from fedtp_jax import Result

KILLS, LIVES, ROUNDS = 200, 5, 100  # kills in all, at most so many of one run, rounds of a run
DESCRIPTION = f"""\
Kills: `fedtp run` is killed with SIGKILL, resumed, killed again, up to {LIVES} times before it may end; its
moments are drawn at random, and aimed so that every phase is hit. "lost" counts what differs, bit for bit,
from a run that was left alone: leaves of the final state, metrics.csv, clients.csv, partition.npz, config.
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
}


class Life(NamedTuple):
    """What happened to one run: phases of its kills, and what differs at its end."""

    phases: list[str]
    lost: list[str]


def measure(out: Path) -> Outcome:
    """About 20 minutes on 2 cores."""
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
        lives = list(_lives(settings, folder / f"{number}", wanted, draw))
        phases = Counter(phase for life in lives for phase in life.phases)
        lost = [difference for life in lives for difference in life.lost]
        rows.append({"run": name, "kills": wanted, **{p: phases[p] for p in AIMS}, "runs": len(lives)})
        rows[-1]["lost"] = len(lost)
        print(rows[-1], *lost, flush=True)
    table = pd.DataFrame(rows)
    total = {"run": "all", **table.drop(columns="run").sum().to_dict()}
    return pd.concat([table, pd.DataFrame([total])], ignore_index=True)


def _lives(settings: dict[str, object], folder: Path, kills: int, draw: random.Random) -> Iterator[Life]:
    """Runs of one configuration until it was killed so often."""
    folder.mkdir(parents=True)
    file, whole = folder / "config.yaml", folder / "whole"
    file.write_text(yaml.safe_dump(BASE | settings))
    done = ended(start("run", file, "--out", whole))
    if done.returncode:
        raise RuntimeError(f"a run that nobody stopped failed: {done.stderr}")
    number = 0
    while kills:
        number += 1
        phases = _live(file, folder / f"run-{number}", min(kills, LIVES), draw)
        kills -= len(phases)
        yield Life(phases, differences(folder / f"run-{number}", whole))


def _live(file: Path, run: Path, kills: int, draw: random.Random) -> list[str]:
    """One run to its end, killed at most so often; the phases in which it was."""
    phases: list[str] = []
    while True:
        begun = (run / "config.yaml").exists()
        process = start("resume", run) if begun else start("run", file, "--out", run)
        if len(phases) < kills:
            rounds = _rounds(run)
            aim = draw.choice(list(AIMS)) if rounds < ROUNDS else "report"
            while process.poll() is None and not AIMS[aim](run, rounds + draw.randint(1, 40)):
                time.sleep(0.0005)
            time.sleep(draw.random() * (1.5 if aim == "start" else 0.01))
            process.send_signal(signal.SIGKILL)
        done = ended(process)
        if done.returncode == 0:
            return phases
        if done.returncode != -signal.SIGKILL:
            raise RuntimeError(f"{run} ended with exit code {done.returncode}: {done.stderr}")
        phases.append(_phase(run, rounds))


# When to strike, by what is aimed at: (folder, rows to wait for) -> whether it is time.
AIMS: dict[str, Callable[[Path, int], bool]] = {
    "start": lambda run, rows: True,
    "rounds": lambda run, rows: _rounds(run) >= min(rows, ROUNDS),
    "checkpoint": lambda run, rows: _rounds(run) >= min(rows, ROUNDS) and _half_written(run),
    "clients.csv": lambda run, rows: (run / "clients.csv.part").exists(),
    "report": lambda run, rows: _rounds(run) >= ROUNDS,
}


def _phase(run: Path, before: int) -> str:
    """What the folder shows of the moment of the kill."""
    if _half_written(run):
        return "checkpoint"
    if (run / "clients.csv.part").exists():
        return "clients.csv"
    rounds = _rounds(run)
    return "report" if rounds >= ROUNDS else "rounds" if rounds > before else "start"


def _half_written(run: Path) -> bool:
    return any((run / "checkpoints").glob("*orbax-checkpoint-tmp*"))


def _rounds(run: Path) -> int:
    metrics = run / "metrics.csv"
    return max(metrics.read_bytes().count(b"\n") - 1, 0) if metrics.exists() else 0


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
