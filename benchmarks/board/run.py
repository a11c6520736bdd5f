"""Runs the board's sweeps, or what is left of them, and writes what the chosen settings reach.

Settings are chosen on the first seed; the chosen ones are then run with all seeds.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.board.page import write_page
from benchmarks.board.tables import curves_of, rows_of
from benchmarks.many_runs import answer, shortened
from fedtp_jax import SimulationConfig
from fedtp_jax.engine.compilation_cache import keep_programs
from fedtp_jax.sweeps.board import Board
from fedtp_jax.sweeps.combinations import Combination, Sweep, place, read_sweep
from fedtp_jax.sweeps.here import crew_here
from fedtp_jax.sweeps.run_combinations import run_left
from fedtp_jax.sweeps.selection import choose

HERE = Path(__file__).parent
MODELS = "vit", "cnn"  # each with its sweep, MODEL.yaml
QUICK: dict[str, Any] = {"rounds": 2, "cohort_size": 3}


def main(arguments: list[str]) -> None:
    """`python -m benchmarks board [--quick] [--processes N]`."""
    parser = argparse.ArgumentParser("python -m benchmarks board", description=__doc__)
    quick = f"{QUICK['rounds']} rounds, one seed and one setting of each method"
    answer(parser, arguments, quick, "runs/board", run)


def run(given: argparse.Namespace) -> None:
    """Run and report what the command line asks for."""
    keep_programs()
    out = given.out / "quick" if given.quick else given.out
    results = out / "results" if given.quick else HERE / "results"
    rows, curves, left, failed = [], [], {}, []
    for model in MODELS:
        file = HERE / f"{model}.yaml"
        asked = read_sweep(file)
        asked = short(asked) if given.quick else asked
        combinations = place(file, asked, out / model)
        first = [dataclasses.replace(one, seeds=one.seeds[:1]) for one in combinations]
        failed += finish(file, first, asked.select, given)
        candidates, chosen = choose(first, str(asked.select))
        names = [one.combination.name for one in chosen]
        best = [one for one in combinations if one.name in names]
        failed += finish(file, best, asked.select, given)
        chosen, _ = choose(best, str(asked.select))
        rows += rows_of(model, candidates, chosen)
        curves += curves_of(model, chosen)
        left[model] = len(combinations) - len(candidates)
        write_page(results, rows, curves, left)  # a board that is stopped then has what is finished
    if failed:
        sys.exit("failed: " + "; ".join(failed))


def finish(
    file: Path, combinations: Sequence[Combination], metric: str | None, given: argparse.Namespace
) -> list[str]:
    """Run what is left of the combinations; what failed, in words."""
    board = Board(combinations, Console(), metric)
    crew = crew_here(combinations, given.processes)
    run_left(file, combinations, combinations[0].folder.parent, board, crew)
    return [f"{name}: {reason}" for name, reason in board.failed.items()]


def short(asked: Sweep) -> Sweep:
    """One seed and, of each method, one setting on one partition, for a few rounds."""
    first: dict[type, SimulationConfig] = {}
    for config in asked.configs:
        first.setdefault(type(config.method), config)
    configs = [shortened(config, **QUICK) for config in first.values()]
    return Sweep(configs, asked.seeds[:1], asked.select)
