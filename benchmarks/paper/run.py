"""Runs an item's sweep, or what is left of it, and writes its table, figures and picture."""

import argparse
import contextlib
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.machine import describe_machine, in_words
from benchmarks.many_runs import answer
from benchmarks.paper.items import ITEMS, Item
from benchmarks.paper.store import Store, claimed, key_of, with_seeds
from benchmarks.paper.summaries import lead_table
from benchmarks.results import markdown
from fedtp_jax import Progress, Result, SimulationConfig, compare, simulate
from fedtp_jax.config import name_of
from fedtp_jax.engine.compilation_cache import keep_programs
from fedtp_jax.plots.style import to_png
from fedtp_jax.runs.display import Stop
from fedtp_jax.storage.csv_log import csv_rows
from fedtp_jax.storage.files import write_atomically
from fedtp_jax.storage.run_folder import RunFolder
from fedtp_jax.sweeps.combinations import read_sweep
from fedtp_jax.sweeps.core_shares import child_environment, core_shares

HERE = Path(__file__).parent
QUICK = {"rounds": 10, "every": 5}


def main(arguments: list[str]) -> None:
    """`python -m benchmarks paper ITEM [ITEM ...] [--quick] [--processes N]`."""
    described = "\n".join(f"  {item.name:<17} {item.title}" for item in ITEMS.values())
    parser = argparse.ArgumentParser(
        "python -m benchmarks paper",
        epilog=described,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("items", nargs="+", metavar="ITEM", choices=ITEMS, help="which experiments")
    answer(parser, arguments, f"{QUICK['rounds']} rounds and one seed", "runs/paper", run_items)


def run_items(given: argparse.Namespace) -> None:
    """Run and report what the command line names."""
    if given.processes > 1:
        run_beside(given)
    keep_programs()
    out = given.out / "quick" if given.quick else given.out
    results = out / "results" if given.quick else HERE / "results"
    failed = []
    for item in (ITEMS[name] for name in given.items):
        configs, store = configs_of(item, given.quick), Store(results)
        failed += run_left(item, configs, store, out)
        report(item, configs, store, results)
    if failed:
        sys.exit("failed: " + "; ".join(failed))


def run_beside(given: argparse.Namespace) -> None:
    """The same command several times at once: each takes the next run that is left, until none is."""
    command = [sys.executable, "-m", "benchmarks", "paper", *given.items, "--out", str(given.out)]
    command += ["--quick"] * given.quick
    children: list[subprocess.Popen[bytes]] = []

    def end(asked: int) -> None:
        for child in children:
            child.terminate()

    with Stop(end) as stop:
        for share in core_shares(given.processes):
            environment = child_environment(given.processes)
            children.append(subprocess.Popen(command, env=environment, process_group=0))
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(children[-1].pid, share)
        for child in children:
            child.wait()  # what has failed is tried, and told, once more
    if stop.asked:
        raise KeyboardInterrupt


def configs_of(item: Item, quick: bool) -> list[SimulationConfig]:
    """Every run of an item."""
    asked = read_sweep(HERE / f"{item.name}.yaml")
    if not quick:
        return with_seeds(asked.configs, asked.seeds)
    short = [
        dataclasses.replace(
            config,
            training=dataclasses.replace(config.training, rounds=QUICK["rounds"]),
            evaluation=dataclasses.replace(config.evaluation, every=QUICK["every"]),
        )
        for config in asked.configs
    ]
    return with_seeds(short, asked.seeds[:1])


def run_left(item: Item, configs: list[SimulationConfig], store: Store, runs: Path) -> list[str]:
    """Run and measure what is not in the store, seed by seed. Returns what failed."""
    failed = []
    groups = groups_of(item, configs)
    left = [group for group in groups if not _is_done(item, group, store)]
    for k, group in enumerate(sorted(left, key=lambda group: group[0].seed)):
        names = ", ".join(name_of(config.method) for config in group)
        told = f"{k + 1} of {len(left)}: {names} on {name_of(group[0].partition)}, seed {group[0].seed}"
        with contextlib.ExitStack() as claims:
            locks = [_folder(runs, config).with_suffix(".lock") for config in group]
            free = all(claims.enter_context(claimed(lock)) for lock in locks)
            store.read()
            if _is_done(item, group, store):
                continue  # another process was quicker
            if not free:
                print(f"{told}: another process is at it", flush=True)
                continue
            try:
                results = [_run(config, store, runs, told) for config in group]
            except FloatingPointError as error:
                failed.append(f"{told}: {error}")
                continue
            if item.measured:
                store.add_measured(item.name, group, item.measured.measure(results))
            if item.maps and group == groups[0]:
                store.draw(f"{item.name}_models.png", item.maps(results))
    return failed


def groups_of(item: Item, configs: list[SimulationConfig]) -> list[list[SimulationConfig]]:
    """Runs that are measured together: all of a partition and seed where they are compared, else each."""
    if not item.maps:
        return [[config] for config in configs]
    keys = [(config.partition, config.seed) for config in configs]
    return [
        [config for config, own in zip(configs, keys, strict=True) if own == key]
        for key in dict.fromkeys(keys)
    ]


def _is_done(item: Item, group: list[SimulationConfig], store: Store) -> bool:
    finished = all(store.has(config) for config in group)
    return finished and (not item.measured or not store.measured(item.name, [group]).empty)


def _run(config: SimulationConfig, store: Store, runs: Path, told: str) -> Result:
    """Run one, or go on with it, or read it if it is finished, and keep what it found."""
    folder = _folder(runs, config)

    def show(progress: Progress) -> None:
        if progress.evaluated and progress.test:
            print(f"{told}, round {progress.round}: {progress.test.pooled:.4f}", flush=True)

    result = simulate(config, out=folder, resume=(folder / "config.yaml").exists(), on_round=show)
    if not store.has(config):
        timing = csv_rows(RunFolder(folder).timing.content())
        seconds = sum(row["train_seconds"] + row["evaluation_seconds"] for row in timing)
        store.add(result, seconds, in_words(describe_machine()))
    return result


def _folder(runs: Path, config: SimulationConfig) -> Path:
    return runs / f"{key_of(config)}-{config.seed}"


def report(item: Item, configs: list[SimulationConfig], store: Store, out: Path) -> None:
    """NAME.md, NAME.csv and NAME.png of what is finished."""
    finished = [config for config in configs if store.has(config)]
    if not finished:
        return
    outcomes = [store.compared_run(config) for config in finished]
    compared = compare(outcomes)
    parts = [f"# {item.title}"]
    found = store.measured(item.name, groups_of(item, finished))
    if item.measured and not found.empty:
        write_atomically(out / f"{item.name}_measured.png", to_png(item.measured.picture(found)))
        seeds = ", ".join(map(str, sorted(found["seed"].unique())))
        parts += [(item.measured.__doc__ or "").strip(), f"![]({item.name}_measured.png)"]
        parts += [markdown(item.measured.table(found)), f"Mean ± sample std over seeds {seeds}."]
    if (out / f"{item.name}_models.png").exists():
        parts += [f"![Models of one client]({item.name}_models.png)"]
    left = {config.seed for config in configs if not store.has(config)}
    complete = {config.seed for config in configs} - left
    if item.summary and complete:  # of less there may be nothing to compare with
        write_atomically(out / f"{item.name}_summary.png", to_png(item.summary(compared)))
        parts += [f"![Summary]({item.name}_summary.png)"]
    if complete:
        parts += [markdown(lead_table(compared, over)) for over in item.over]
    parts += [
        f"![Learning curves]({item.name}.png)",
        compared.to_markdown().strip(),
        compare(outcomes, "worst_decile").to_markdown().strip(),
        f"{len(finished)} of {len(configs)} runs, {store.hours(finished):.1f} hours in all. "
        f"`python -m benchmarks paper {item.name}` on {' and on '.join(store.machines(finished))}.",
    ]
    write_atomically(out / f"{item.name}.md", "\n\n".join(parts) + "\n")
    write_atomically(out / f"{item.name}.csv", compared.to_csv())
    write_atomically(out / f"{item.name}.png", to_png(compared.plot()))
    print(f"\n{compared.to_markdown()}", flush=True)
