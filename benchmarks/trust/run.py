"""Runs the sweeps on privacy, adversaries and compression, or what is left, and writes the findings."""

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.many_runs import answer, shortened
from benchmarks.trust.page import write_page
from benchmarks.trust.tables import rows_of
from fedtp_jax.engine.compilation_cache import keep_programs
from fedtp_jax.sweeps.board import Board
from fedtp_jax.sweeps.combinations import Sweep, place, read_sweep
from fedtp_jax.sweeps.here import crew_here
from fedtp_jax.sweeps.run_combinations import run_left

HERE = Path(__file__).parent
SWEEPS = "privacy", "adversaries", "clipped", "bits"  # each NAME.yaml
QUICK: dict[str, Any] = {"rounds": 2}


def main(arguments: list[str]) -> None:
    """`python -m benchmarks trust [--quick] [--processes N]`."""
    parser = argparse.ArgumentParser("python -m benchmarks trust", description=__doc__)
    answer(parser, arguments, f"{QUICK['rounds']} rounds and one seed", "runs/trust", run)


def run(given: argparse.Namespace) -> None:
    """Run and report what the command line asks for."""
    keep_programs()
    out = given.out / "quick" if given.quick else given.out
    results = out / "results" if given.quick else HERE / "results"
    rows, failed = [], []
    for name in SWEEPS:
        file = HERE / f"{name}.yaml"
        asked = read_sweep(file)
        combinations = place(file, short(asked) if given.quick else asked, out / name)
        board = Board(combinations, Console(), None)
        crew = crew_here(combinations, given.processes)
        run_left(file, combinations, combinations[0].folder.parent, board, crew)
        failed += [f"{name}: {one}: {reason}" for one, reason in board.failed.items()]
        rows += rows_of(name, [one for one in combinations if one.name not in board.failed])
        write_page(results, rows)  # findings that are stopped then have what is finished
    if failed:
        sys.exit("failed: " + "; ".join(failed))


def short(asked: Sweep) -> Sweep:
    """One seed, for a few rounds."""
    configs = [shortened(config, **QUICK) for config in asked.configs]
    return Sweep(configs, asked.seeds[:1], asked.select)
