"""The commands that train: `fedtp run | resume | sweep`."""

import functools
import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from fedtp_jax.cli.distributed import ALONE, DistributedFlags, join
from fedtp_jax.cli.elsewhere import HERE, WhereFlags, again, crew_of
from fedtp_jax.cli.output import show_sheet, tell
from fedtp_jax.core.counted import count_of

if TYPE_CHECKING:
    from fedtp_jax.config import SimulationConfig
    from fedtp_jax.results.result import Result
    from fedtp_jax.runs.progress import Progress, Resume

Overrides = Annotated[
    Positional[tuple[str, ...]],
    arg(metavar="section.field=value ...", help="settings that replace the file's"),
]
Out = Annotated[Path | None, arg(metavar="DIR", help="the run's folder; default: runs/ and the file's name")]
Others = Annotated[DistributedFlags, arg(name="")]
Where = Annotated[WhereFlags, arg(name="")]
TensorBoardToo = Annotated[
    bool, arg(help="also write tensorboard/ in the run's folder (pip install 'fedtp_jax[tensorboard]')")
]


def run(
    config: Annotated[Positional[Path], arg(help="a YAML file, such as configs/quickstart.yaml")],
    overrides: Overrides = (),
    out: Out = None,
    init: Annotated[
        Path | None,
        arg(metavar="PATH", help="a run's folder, or a file of variables, from which every client starts"),
    ] = None,
    seeds: Annotated[tuple[int, ...], arg(help="run with each of these seeds; default: the file's")] = (),
    quiet: Annotated[bool, arg(help="print the result alone")] = False,
    json: Annotated[bool, arg(help="print the result as one JSON object")] = False,
    tensorboard: TensorBoardToo = False,
    others: Others = ALONE,
) -> int:
    """Run a simulation and write its folder: metrics, per-client table, checkpoints, report.html."""
    from fedtp_jax.config.load import load_config
    from fedtp_jax.core import hosts
    from fedtp_jax.storage.run_folder import RunFolder

    join(others)
    settings = hosts.from_first(functools.partial(load_config, config, overrides))
    out = out or hosts.from_first(functools.partial(RunFolder.fresh, config.stem))
    show = {"quiet": quiet, "json": json, "tensorboard": tensorboard}
    return _simulate(settings, list(seeds) or None, out, resume=False, init=init, **show)


def resume(
    directory: Annotated[
        Positional[Path], arg(help="the folder of a run, or of some seeds', that was stopped")
    ],
    overrides: Annotated[
        Positional[tuple[str, ...]],
        arg(
            metavar="section.field=value ...",
            help="more rounds, training.rounds=300, or where files lie now, such as data.file=/data/mine.npz",
        ),
    ] = (),
    further: Annotated[
        bool, arg(help="go on with a run that was asked to end before its last round")
    ] = False,
    quiet: Annotated[bool, arg(help="print the result alone")] = False,
    json: Annotated[bool, arg(help="print the result as one JSON object")] = False,
    tensorboard: TensorBoardToo = False,
    others: Others = ALONE,
) -> int:
    """Go on with a stopped run from its newest checkpoint, as if it had never stopped."""
    from fedtp_jax.config.load import from_dict, load_config
    from fedtp_jax.core import hosts
    from fedtp_jax.storage.run_folder import RunFolder, SeedsFolder

    def read() -> "tuple[SimulationConfig, list[int] | None]":
        if several := SeedsFolder(directory).read():
            return from_dict(several[0], overrides), several[1]
        return load_config(RunFolder.open(directory).config, overrides), None

    join(others)
    settings, seeds = hosts.from_first(read)
    how: Resume = "further" if further else True
    return _simulate(settings, seeds, directory, resume=how, quiet=quiet, json=json, tensorboard=tensorboard)


def sweep(
    file: Annotated[
        Positional[Path], arg(metavar="FILE", help="a YAML file, such as configs/sweeps/digits.yaml")
    ],
    out: Annotated[
        Path | None, arg(metavar="DIR", help="its folder; default: runs/ and the file's name")
    ] = None,
    where: Where = HERE,
    quiet: Annotated[bool, arg(help="print the table alone")] = False,
) -> int:
    """Run every combination of settings in a file, or what is not finished of them, and compare them."""
    from fedtp_jax.comparison.compare import compare as compare_runs
    from fedtp_jax.engine.compilation_cache import keep_programs
    from fedtp_jax.sweeps.board import Board
    from fedtp_jax.sweeps.combinations import place, read_sweep
    from fedtp_jax.sweeps.run_combinations import run_left
    from fedtp_jax.sweeps.selection import select

    keep_programs()
    out = out or Path("runs") / file.stem
    asked = read_sweep(file)
    combinations = place(file, asked, out)
    board = Board(combinations, Console(stderr=True, quiet=quiet), asked.select)
    crew = crew_of(where, combinations, out, board)
    try:
        run_left(file, combinations, out, board, crew)
    except KeyboardInterrupt:
        what = "left; what is submitted goes on; see it end" if crew and crew.stays else "interrupted; go on"
        tell(f"{what} with: fedtp sweep {file} --out {out}{again(where)}", error=True)
        return 130
    finished = [c.run(seed) for c in combinations for seed in c.seeds if c.is_done(seed)]
    if asked.select:
        sheet = select(out, combinations, asked.select)
    else:
        sheet = compare_runs(finished).sheet if finished else None
    if sheet:
        show_sheet(sheet)
    for c in combinations:
        if c.name in board.failed:
            reason, alone = board.failed[c.name], f"fedtp resume {c.folder}"
            tell(f"failed: {c.name}: {reason}" + f" (alone: {alone})" * (alone not in reason), error=True)
    return 1 if board.failed else 0


def _simulate(
    settings: "SimulationConfig",
    seeds: list[int] | None,
    out: Path,
    resume: "Resume",
    quiet: bool,
    json: bool,
    tensorboard: bool,
    init: Path | None = None,
) -> int:
    """Run with a progress display; an interrupt ends after the round with the command that goes on."""
    from fedtp_jax.core import hosts
    from fedtp_jax.engine.compilation_cache import keep_programs
    from fedtp_jax.results.summary import missing_in_words
    from fedtp_jax.runs.display import RunDisplay
    from fedtp_jax.runs.simulate import simulate
    from fedtp_jax.trackers import TensorBoard

    keep_programs()
    tracker = hosts.on_first(lambda: TensorBoard(out / "tensorboard")) if tensorboard else None
    console = Console(stderr=True, quiet=not hosts.is_first())
    display = RunDisplay(console, settings.training.rounds, silent=quiet or json, seeds=seeds or ())

    def on_round(progress: "Progress") -> None:
        heard.append(progress.round)
        if tracker:
            tracker(progress)
        display.on_round(progress)

    heard: list[int] = []
    try:
        with display:
            found = simulate(settings, seeds=seeds, out=out, init=init, resume=resume, on_round=on_round)
    except KeyboardInterrupt:
        started = (out / "config.yaml").exists() or (out / "seeds.json").exists()
        message = f"go on with: fedtp resume {out}" if started else "nothing was written"
        if hosts.is_first():
            tell(f"interrupted; {message}", error=True)
        return 130
    results = found if isinstance(found, list) else [found]
    missing = missing_in_words(results, out, seeds is not None)
    if hosts.is_first():
        if json:
            _print_json(results, seeds, out)
        else:
            _print_words(results, seeds, out, quiet, already=bool(resume) and not heard)
        if missing:
            tell(f"failed: {missing}", error=True)
    return 1 if missing else 0


def _print_json(results: "list[Result]", seeds: list[int] | None, out: Path) -> None:
    from fedtp_jax.results.summary import result_as_json

    folders = [out / f"seed-{seed}" for seed in seeds] if seeds else [out]
    summaries = [result_as_json(*pair) for pair in zip(results, folders, strict=True)]
    tell(jsonlib.dumps({"seeds": summaries} if seeds else summaries[0]))


def _print_words(
    results: "list[Result]", seeds: list[int] | None, out: Path, quiet: bool, already: bool
) -> None:
    """The results, and unless `quiet` where they are; `already`: no round was left to do."""
    from fedtp_jax.results.summary import result_in_words, several_in_words

    tell(several_in_words(results) if seeds else result_in_words(results[0]))
    if quiet:
        return
    if already:
        tell(_already(results, out))
    c = results[-1].compiled
    told = f"compiled {count_of(int(c['programs']), 'program')} in {c['seconds']:.1f} s"
    if not any("report.html" in result.missing for result in results):
        told += f"; report: {out / ('seed-*/report.html' if seeds else 'report.html')}"
    tell(told)


def _already(results: "list[Result]", out: Path) -> str:
    """Why no round was done."""
    done, planned = (
        max(counts)
        for counts in zip(*((len(r.history), r.config.training.rounds) for r in results), strict=True)
    )
    if done == planned:
        return "it was finished already"
    return f"it was asked to end after {done} of {planned} rounds; go on with: fedtp resume {out} --further"
