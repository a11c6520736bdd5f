"""Runs an item's sweep, or what is left of it, and writes its table, figures and picture."""

import argparse
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

from benchmarks.machine import describe_machine, in_words
from benchmarks.paper import attention, language, novel
from benchmarks.paper.store import Store, claimed, key_of, with_seeds
from benchmarks.results import markdown
from fedtp_jax import Progress, Result, SimulationConfig, UserError, compare, simulate
from fedtp_jax.cache import keep_programs
from fedtp_jax.config import name_of
from fedtp_jax.folder import RunFolder, csv_rows, write_atomically, write_csv
from fedtp_jax.plots import to_png
from fedtp_jax.sweep import read_sweep
from fedtp_jax.sweeping import child_environment, core_shares

HERE = Path(__file__).parent
ITEMS = {
    "main_table": "Main table: all methods on two partitions",
    "main_table_100": "Main table: four methods with 100 clients",
    "main_table_cnn": "Main table: methods with a CNN",
    "scaling": "Scaling in clients: the same data in 10 to 1,000 hands, and as much for each",
    "curves": "Learning curves to the end: when, if ever, is FedTP ahead?",
    "hypernetwork": "What moves FedTP's curve: the hypernetwork's settings and local epochs",
    "parts": "Does averaging hurt attention? Each part in turn stays with the clients",
    "attention": "Attention distances: local, averaged and personalised models",
    "novel": "Clients that never trained: few examples, and another kind of client",
    "language": "Shakespeare: causal Transformers, an LSTM, and the authors' Transformer that sees ahead",
}
MEASURED = {"novel": novel, "language": language}  # what is measured of each run beside its accuracy
COMPARED = {"attention": attention}  # what is measured of all runs together
QUICK = {"rounds": 10, "every": 5}


def main(arguments: list[str]) -> None:
    """`python -m benchmarks paper ITEM [ITEM ...] [--quick]`."""
    described = "\n".join(f"  {name:<14} {title}" for name, title in ITEMS.items())
    parser = argparse.ArgumentParser(
        "python -m benchmarks paper",
        epilog=described,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("items", nargs="+", metavar="ITEM", choices=ITEMS, help="which experiments")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK['rounds']} rounds and one seed: does it all work?"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/paper"), help="folder for the runs (%(default)s)"
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        help="runs at once, each with its share of the cores (%(default)s)",
    )
    given = parser.parse_args(arguments)
    if given.processes > 1:
        run_beside(given)
    keep_programs()
    out = given.out / "quick" if given.quick else given.out
    results = out / "results" if given.quick else HERE / "results"
    failed = []
    for item in given.items:
        configs, store = configs_of(item, given.quick), Store(results)
        failed += run_left(item, configs, store, out)
        if item in COMPARED:
            compare_states(item, configs, out, results)
        report(item, configs, store, results)
    if failed:
        sys.exit("failed: " + "; ".join(failed))


def run_beside(given: argparse.Namespace) -> None:
    """The same command several times at once: each takes the next run that is left, until none is."""
    command = [sys.executable, "-m", "benchmarks", "paper", *given.items, "--out", str(given.out)]
    children = []
    for share in core_shares(given.processes):
        environment = child_environment(len(share), given.processes)
        children.append(subprocess.Popen([*command, *["--quick"] * given.quick], env=environment))
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(children[-1].pid, share)
    for child in children:
        child.wait()  # what has failed is tried, and told, once more


def configs_of(item: str, quick: bool) -> list[SimulationConfig]:
    """Every run of an item."""
    configs, seeds = read_sweep(HERE / f"{item}.yaml")
    if not quick:
        return with_seeds(configs, seeds)
    short = [
        dataclasses.replace(
            config,
            training=dataclasses.replace(config.training, rounds=QUICK["rounds"]),
            evaluation=dataclasses.replace(config.evaluation, every=QUICK["every"]),
        )
        for config in configs
    ]
    return with_seeds(short, seeds[:1])


def run_left(item: str, configs: list[SimulationConfig], store: Store, runs: Path) -> list[str]:
    """Run what is not in the store, seed by seed: a stop leaves whole seeds. Returns what failed."""
    failed = []
    left = sorted((c for c in configs if not store.has(c)), key=lambda config: config.seed)
    for k, config in enumerate(left):
        task = f"{name_of(config.method)} on {name_of(config.partition)}"
        told = f"{k + 1} of {len(left)}: {task}, seed {config.seed}"
        folder = _folder(runs, config)
        with claimed(folder.with_suffix(".lock")) as free:
            store.read()
            if not free or store.has(config):
                continue  # another process is at it, or was quicker
            try:
                _run(item, config, store, folder, told)
            except (FloatingPointError, UserError) as error:
                failed.append(f"{told}: {error}")
    return failed


def _run(item: str, config: SimulationConfig, store: Store, folder: Path, told: str) -> None:
    """Run one, or go on with it, and keep what it found."""

    def show(progress: Progress) -> None:
        if progress.evaluated and progress.accuracy:
            print(f"{told}, round {progress.round}: {progress.accuracy.pooled:.4f}", flush=True)

    result = simulate(config, out=folder, resume=(folder / "config.yaml").exists(), on_round=show)
    if item in MEASURED:
        store.measured(item, config, MEASURED[item].measure(result))
    timing = csv_rows(RunFolder(folder).timing.content())
    seconds = sum(row["train_seconds"] + row["evaluation_seconds"] for row in timing)
    store.add(result, seconds, in_words(describe_machine()))


def compare_states(item: str, configs: list[SimulationConfig], runs: Path, out: Path) -> None:
    """Measure the final states of an item's runs; where folders are gone what was found before stays."""
    folders = [_folder(runs, config) for config in configs]
    if all((folder / "report.html").exists() for folder in folders):  # the last thing that a run writes
        results, module = [*map(Result.load, folders)], COMPARED[item]
        write_csv(out / f"{item}_measured.csv", module.measure(results))
        write_atomically(out / f"{item}_maps.png", to_png(module.maps(results)))


def _folder(runs: Path, config: SimulationConfig) -> Path:
    return runs / f"{key_of(config)}-{config.seed}"


def report(item: str, configs: list[SimulationConfig], store: Store, out: Path) -> None:
    """ITEM.md, ITEM.csv and ITEM.png of what is finished."""
    finished = [config for config in configs if store.has(config)]
    if not finished:
        return
    compared = compare([store.outcome(config) for config in finished])
    parts = [f"# {ITEMS[item]}"]
    module, measured = (MEASURED | COMPARED).get(item), out / f"{item}_measured.csv"
    if module and measured.exists():
        found = pd.read_csv(measured)
        write_atomically(out / f"{item}_measured.png", to_png(module.picture(found)))
        parts += [module.__doc__ or "", f"![]({item}_measured.png)", markdown(module.table(found))]
    if (out / f"{item}_maps.png").exists():
        parts += [f"![What a client's model looks at]({item}_maps.png)"]
    parts += [
        f"![Learning curves]({item}.png)",
        compared.to_markdown().strip(),
        f"{len(finished)} of {len(configs)} runs, {store.hours(finished):.1f} hours in all. "
        f"`python -m benchmarks paper {item}` on {' and on '.join(store.machines(finished))}.",
    ]
    write_atomically(out / f"{item}.md", "\n\n".join(parts) + "\n")
    write_atomically(out / f"{item}.csv", compared.to_csv())
    write_atomically(out / f"{item}.png", to_png(compared.plot()))
    print(f"\n{compared.to_markdown()}", flush=True)
