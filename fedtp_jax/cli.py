"""The command line: `fedtp run | resume | sweep | plan | list | partition | prepare`, and cli_results.

Exit codes: 0 done, 1 the run failed, 2 the user's mistake, 130 interrupted (resumable).
"""

import functools
import json as jsonlib
import logging
import sys
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from rich.console import Console
from tyro.conf import Positional, arg

from fedtp_jax import cluster, hosts
from fedtp_jax.arguments import parse
from fedtp_jax.cache import keep_programs
from fedtp_jax.cli_results import compare, doctor, export, novel
from fedtp_jax.cluster import ALONE, Cluster
from fedtp_jax.config import SimulationConfig
from fedtp_jax.errors import StorageError, UserError
from fedtp_jax.outputs import expect_png, show, write_picture
from fedtp_jax.reference import describe_fields, list_parts

if TYPE_CHECKING:
    from fedtp_jax.run import Progress

Overrides = Annotated[
    Positional[tuple[str, ...]],
    arg(metavar="section.field=value ...", help="settings that replace the file's"),
]
Out = Annotated[Path | None, arg(metavar="DIR", help="the run's folder; default: runs/ and the file's name")]
Others = Annotated[Cluster, arg(name="")]
TensorBoardToo = Annotated[
    bool, arg(help="also write tensorboard/ in the run's folder (pip install 'fedtp_jax[tensorboard]')")
]


def run(
    config: Annotated[Positional[Path], arg(help="a YAML file, such as configs/quickstart.yaml")],
    overrides: Overrides = (),
    out: Out = None,
    seeds: Annotated[tuple[int, ...], arg(help="run with each of these seeds; default: the file's")] = (),
    quiet: Annotated[bool, arg(help="print the result alone")] = False,
    json: Annotated[bool, arg(help="print the result as one JSON object")] = False,
    tensorboard: TensorBoardToo = False,
    others: Others = ALONE,
) -> int:
    """Run a simulation and write its folder: metrics, per-client table, checkpoints, report.html."""
    from fedtp_jax.folder import RunFolder
    from fedtp_jax.settings import load_config

    cluster.join(others)
    settings = hosts.from_first(functools.partial(load_config, config, overrides))
    out = out or hosts.from_first(functools.partial(RunFolder.fresh, config.stem))
    return _simulate(
        settings, list(seeds) or None, out, resume=False, quiet=quiet, json=json, tensorboard=tensorboard
    )


def resume(
    directory: Annotated[
        Positional[Path], arg(help="the folder of a run, or of some seeds', that was stopped")
    ],
    quiet: Annotated[bool, arg(help="print the result alone")] = False,
    json: Annotated[bool, arg(help="print the result as one JSON object")] = False,
    tensorboard: TensorBoardToo = False,
    others: Others = ALONE,
) -> int:
    """Go on with a stopped run from its newest checkpoint, as if it had never stopped."""
    from fedtp_jax.folder import RunFolder, SeedsFolder
    from fedtp_jax.settings import from_dict, load_config

    def read() -> tuple[SimulationConfig, list[int] | None]:
        if several := SeedsFolder(directory).read():
            return from_dict(several[0]), several[1]
        return load_config(RunFolder.open(directory).config), None

    cluster.join(others)
    settings, seeds = hosts.from_first(read)
    return _simulate(settings, seeds, directory, resume=True, quiet=quiet, json=json, tensorboard=tensorboard)


def plan(
    config: Annotated[Positional[Path], arg(help="a YAML file, such as configs/quickstart.yaml")],
    overrides: Overrides = (),
    json: Annotated[bool, arg(help="print the numbers as one JSON object")] = False,
    picture: Annotated[Path | None, arg(metavar="PNG", help="draw who sits on which lane in round 1")] = None,
) -> int:
    """Say what a run will cost, without training it: occupancy, memory, traffic, an estimate of its time."""
    from fedtp_jax.plan import plan_run
    from fedtp_jax.settings import load_config
    from fedtp_jax.tables import plan_table

    expect_png("--picture", picture)
    keep_programs()
    settings = load_config(config, overrides)
    with Console(stderr=True).status("compiling, and timing a few ticks"):
        made = plan_run(settings)
    if picture is not None:
        from fedtp_jax.pictures import lane_schedule

        load = made.training
        which = f"first of {load.waves:,} waves, " if load.waves > 1 else ""
        title = f"Round 1: {which}{len(load.stays):,} clients on {made.devices * load.lanes:,} lanes"
        write_picture("--picture", picture, lane_schedule(load.stays, made.devices, load.lanes, title))
    if json:
        print(jsonlib.dumps(made.figures()))
        return 0
    console = Console(highlight=False)
    console.print(plan_table(made))
    return 0


def list_(
    what: Annotated[
        Positional[Literal["methods", "models", "datasets", "partitions"]], arg(help="what to list")
    ],
) -> int:
    """List what can be chosen by name."""
    print(list_parts(what))
    return 0


def partition(
    config: Annotated[Positional[Path], arg(help="a YAML file, such as configs/quickstart.yaml")],
    overrides: Overrides = (),
    out: Annotated[Path | None, arg(help="folder for partition.npz and partition.png")] = None,
) -> int:
    """Show who holds which classes, as a table; with --out save the index lists and a picture."""
    from fedtp_jax.data import partition as partitions
    from fedtp_jax.data.sources import load
    from fedtp_jax.folder import write_atomically
    from fedtp_jax.plots import partition_bubbles, to_png
    from fedtp_jax.settings import load_config
    from fedtp_jax.tables import partition_table

    settings = load_config(config, overrides)
    data = load(settings.data)
    made = partitions.make_partition(settings.partition, data, settings.seed)
    counts = made.train.class_counts(data.train.y, data.num_classes)
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            partitions.save(made, out / "partition.npz")
            write_atomically(out / "partition.png", to_png(partition_bubbles(counts)))
        except OSError as error:
            raise UserError(
                f"--out {out}: cannot be written ({error.strerror}); choose another folder"
            ) from None
    console = Console()
    console.print(partition_table(counts))
    console.print(
        f"{data.name} from {data.source}; partition fingerprint {made.fingerprint()}", highlight=False
    )
    if out is not None:
        console.print(f"wrote {out / 'partition.npz'} and {out / 'partition.png'}", highlight=False)
    return 0


def prepare(
    dataset: Annotated[Positional[str], arg(help="fashion_mnist, mnist, cifar10 or cifar100")],
    directory: Annotated[Path | None, arg(help="folder with the original files")] = None,
    download: Annotated[bool, arg(help="fetch the original files from their publisher first")] = False,
    data_dir: Annotated[Path | None, arg(help="TFDS folder to write; default: TFDS_DATA_DIR")] = None,
) -> int:
    """Make a TFDS folder of a data set that `fedtp run` and TFDS itself read; no TensorFlow needed."""
    from fedtp_jax.data.prepare import prepare as prepare_dataset

    written = prepare_dataset(dataset, directory=directory, download=download, data_dir=data_dir)
    Console().print(f"prepared {written}", highlight=False)
    return 0


def sweep(
    file: Annotated[
        Positional[Path], arg(metavar="FILE", help="a YAML file, such as configs/sweeps/digits.yaml")
    ],
    out: Annotated[
        Path | None, arg(metavar="DIR", help="its folder; default: runs/ and the file's name")
    ] = None,
    processes: Annotated[
        int, arg(metavar="N", help="combinations at once, each on its share of the cores")
    ] = 1,
    quiet: Annotated[bool, arg(help="print the table alone")] = False,
) -> int:
    """Run every combination of settings in a file, or what is not finished of them, and compare them."""
    from fedtp_jax.compare import compare as compare_runs
    from fedtp_jax.sweep import check, make_folder, place, read_sweep
    from fedtp_jax.sweeping import Board, run_beside, run_here

    if processes < 1:
        raise UserError(f"--processes: got {processes}, expected a whole number of at least 1")
    keep_programs()
    out = out or Path("runs") / file.stem
    combinations = place(file, *read_sweep(file), out)
    check(file, [combination for combination in combinations if combination.left])
    make_folder(out)
    board = Board(combinations, Console(stderr=True, quiet=quiet))
    try:
        if processes == 1:
            run_here(combinations, board)
        else:
            run_beside(combinations, board, processes)
    except KeyboardInterrupt:
        again = f"{file} --out {out}" + (f" --processes {processes}" if processes > 1 else "")
        _tell(f"interrupted; go on with: fedtp sweep {again}")
        return 130
    finished = [c.run(seed) for c in combinations for seed in c.seeds if c.is_done(seed)]
    if finished:
        show(compare_runs(finished).sheet)
    for c in combinations:
        if c.name in board.failed:
            _tell(f"failed: {c.name}: {board.failed[c.name]} (alone: fedtp resume {c.folder})")
    return 1 if board.failed else 0


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the `fedtp` command."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # what orbax says of storage the run says itself

    def say(message: str) -> None:
        if hosts.is_first():  # the others would say the same
            errors.print(message, markup=False)

    warnings.showwarning = lambda message, *_: say(f"warning: {message}")
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["--version"]:
        print(metadata.version("fedtp_jax"))
        sys.exit(0)
    if arguments[:1] == ["run"]:  # only its own help shows the whole reference
        run.__doc__ = f"{(run.__doc__ or '').splitlines()[0]}\n\n{describe_fields()}"
    commands: dict[str, Callable[..., int]] = {
        "run": run,
        "resume": resume,
        "plan": plan,
        "list": list_,
        "partition": partition,
        "prepare": prepare,
        "sweep": sweep,
        "compare": compare,
        "novel": novel,
        "export": export,
        "doctor": doctor,
    }
    code: int
    try:
        code = parse(commands, arguments)()
    except UserError as error:
        say(f"error: {error}")
        code = 2
    except (FloatingPointError, StorageError) as error:
        say(f"failed: {error}")
        code = 1
    except KeyboardInterrupt:
        say("interrupted; nothing was written")
        code = 130
    except BrokenPipeError:
        code = 1
    cluster.leave()
    sys.exit(code)


def _tell(line: str) -> None:
    Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)


def _simulate(
    settings: SimulationConfig,
    seeds: list[int] | None,
    out: Path,
    resume: bool,
    quiet: bool,
    json: bool,
    tensorboard: bool,
) -> int:
    """Run with a progress display; an interrupt ends after the round with the command that goes on."""
    from fedtp_jax.progress import RunDisplay
    from fedtp_jax.simulate import simulate
    from fedtp_jax.summary import result_as_json, result_in_words, several_in_words
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
            found = simulate(settings, seeds=seeds, out=out, resume=resume, on_round=on_round)
    except KeyboardInterrupt:
        started = (out / "config.yaml").exists() or (out / "seeds.json").exists()
        message = f"go on with: fedtp resume {out}" if started else "nothing was written"
        console.print(f"interrupted; {message}", markup=False, highlight=False, soft_wrap=True)
        return 130
    if not hosts.is_first():
        return 0
    results = found if isinstance(found, list) else [found]
    if json:
        folders = [out / f"seed-{seed}" for seed in seeds] if seeds else [out]
        summaries = [result_as_json(*pair) for pair in zip(results, folders, strict=True)]
        print(jsonlib.dumps({"seeds": summaries} if seeds else summaries[0]))
        return 0
    console = Console(highlight=False, soft_wrap=True)
    console.print(several_in_words(results) if seeds else result_in_words(results[0]))
    if resume and not heard and not quiet:
        console.print("it was finished already")
    if not quiet:
        c = results[-1].compiled
        reports = out / ("seed-*/report.html" if seeds else "report.html")
        console.print(f"compiled {c['programs']} programs in {c['seconds']:.1f} s; report: {reports}")
    return 0
