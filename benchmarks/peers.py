"""Rounds of fedtp_jax beside those of other simulators as they come from PyPI."""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.machine import cores
from benchmarks.pictures import bars, panels
from benchmarks.results import Outcome
from benchmarks.simulators.environments import (
    PEERS,
    NotInstalled,
    Peer,
    command_of,
    environments_folder,
    install,
    variables_of,
)
from benchmarks.simulators.make_work import METHODS, ROUNDS, make_work, settings
from benchmarks.simulators.memory import run_with_peak
from fedtp_jax.data.sources import load

TITLES = {"fedavg": "FedAvg", "fedper": "FedPer"}
TURNS = 3
DESCRIPTION = f"""\
The same work by fedtp_jax and by other simulators, each of them from PyPI in an environment of its own, used
by its own documented extension points (benchmarks/simulators/, a script each) at its best setting for these
cores. 50 clients with Dirichlet(0.3) shards of Fashion-MNIST, 10 of them a round, one epoch, batches of 32,
SGD 0.01 with momentum 0.9 that begins anew in each round; a ViT of 72,000 parameters without dropout,
float32. All begin with the same parameters and have the same cohorts; each one shuffles for itself, so that
accuracies differ a little. Averages are weighted by examples. FedPer: the classifier's last layer stays with
its client.

Seconds a round: the mean over rounds 2 to {ROUNDS}, of each the quickest of {TURNS} runs, without evaluation.
The runs take turns, and all have the same cohorts, so that a busy moment of the machine is nobody's round.
First round: the quickest too, with start-up or compilation where a simulator has them there. Peak memory: of
all processes together (proportional shares of common pages), data included. Accuracy: pooled over all
clients' test examples after round {ROUNDS}, for FedPer each client with its own head.
"""


def measure(out: Path) -> Outcome:
    """About 30 minutes on 2 cores, and as long again to install the environments the first time."""
    pythons, missing = install_all(PEERS, environments_folder())
    tables = {}
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch) / "work"
        make_work(settings("fedavg"), load(settings("fedavg").data), work)
        for method in METHODS:
            runs = [
                (peer.name, run(peer, pythons[peer.name], work, method, Path(scratch)))
                for _ in range(TURNS)
                for peer in PEERS
                if peer.name in pythons
            ]
            tables[TITLES[method]] = table_of(runs)
    if missing:
        rows = [{"simulator": name, "why it is not here": why} for name, why in missing.items()]
        tables["Not measured"] = pd.DataFrame(rows)
    return Outcome(DESCRIPTION, tables, picture(tables))


def install_all(peers: Sequence[Peer], folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """({name: interpreter of its environment}, {name: why there is none})."""
    pythons, missing = {}, {}
    for peer in peers:
        try:
            pythons[peer.name] = install(peer, folder)
        except NotInstalled as error:
            missing[peer.name] = str(error)
            print(f"{peer.name}: {error}", flush=True)
    return pythons, missing


def run(peer: Peer, python: Path, work: Path, method: str, scratch: Path) -> dict[str, Any]:
    """What the peer's script answers, with its peak memory; or {"failure": its last words}."""
    used = len(cores())
    with tempfile.TemporaryDirectory(dir=scratch) as own:
        answer, log = Path(own) / "answer.json", Path(own) / "log.txt"
        command = [*command_of(peer, python, used), str(work), str(answer), method, str(used)]
        with log.open("w") as file:
            code, peak = run_with_peak(command, variables_of(peer, used), file)
        if code or not answer.exists():
            words = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            print("\n".join(words[-20:]), file=sys.stderr, flush=True)
            return {"failure": f"ended with code {code}: {words[-1].strip() if words else 'no word'}"}
        found = {**json.loads(answer.read_text()), "peak": peak}
    rounds = ", ".join(f"{seconds:.2f}" for seconds in found["seconds"])
    print(f"{peer.name}, {method}: {rounds} s; {found['accuracy']:.3f}, {peak} MB", flush=True)
    return found


def table_of(runs: Sequence[tuple[str, dict[str, Any]]]) -> pd.DataFrame:
    """A row for each simulator, fedtp_jax's first, then the fastest; failures last."""
    rows: list[dict[str, Any]] = []
    names = list(dict.fromkeys(name for name, _ in runs))
    for name in names:
        found = [run for of, run in runs if of == name and "failure" not in run]
        if not found:
            failure = next(run["failure"] for of, run in runs if of == name)
            rows.append({"simulator": name, "setting": failure, "s a round": np.inf})
            continue
        quickest = np.min([run["seconds"] for run in found], axis=0)
        rows.append(
            {
                "simulator": name,
                "version": found[0]["version"],
                "setting": found[0]["setting"],
                "s a round": float(quickest[1:].mean()),
                "first round": float(quickest[0]),
                "peak MB": max(run["peak"] for run in found),
                "accuracy": float(np.mean([run["accuracy"] for run in found])),
            }
        )
    ours = next(row["s a round"] for row in rows if row["simulator"] == names[0])
    rows[1:] = sorted(rows[1:], key=lambda row: row["s a round"])
    return pd.DataFrame([_shown(row, ours) for row in rows])


def _shown(row: dict[str, Any], ours: float) -> dict[str, Any]:
    """A row in the columns of README's table."""
    failed = "version" not in row
    return {
        "simulator": row["simulator"],
        "version": "" if failed else row["version"],
        "setting": row["setting"],
        "s a round": "" if failed else round(row["s a round"], 2),
        "times ours": "" if failed else round(row["s a round"] / ours, 2),
        "first round": "" if failed else round(row["first round"], 1),
        "peak MB": "" if failed else row["peak MB"],
        "accuracy": "" if failed else round(row["accuracy"], 3),
    }


def picture(tables: dict[str, pd.DataFrame]) -> Figure:
    """Seconds a round of both methods, and FedAvg's memory."""
    figure, axes = panels(len(TITLES) + 1, width=5.0, height=3.2)
    shown = [(title, "s a round", "seconds a round") for title in TITLES.values()]
    shown.append((TITLES["fedavg"], "peak MB", "MB, all processes"))
    for axis, (title, column, unit) in zip(axes, shown, strict=True):
        table = tables[title]
        table = table[table[column].astype(str) != ""]
        names = table["simulator"].tolist()
        values = table[column].astype(float).tolist()
        bars(axis, f"{title}: {column}", names, values, [name == names[0] for name in names], unit)
    return figure
