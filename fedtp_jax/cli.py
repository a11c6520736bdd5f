"""The command line: `fedtp plan | list | partition | prepare`, and those of cli_runs and cli_results.

Exit codes: 0 done, 1 the run failed, 2 the user's mistake, 130 interrupted (resumable).
"""

import json as jsonlib
import logging
import sys
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console
from tyro.conf import Positional, arg

from fedtp_jax import cluster, hosts
from fedtp_jax.arguments import parse
from fedtp_jax.cache import keep_programs
from fedtp_jax.cli_results import compare, doctor, export, novel
from fedtp_jax.cli_runs import Overrides, resume, run, sweep
from fedtp_jax.errors import StorageError, UserError
from fedtp_jax.outputs import expect_png, write_picture
from fedtp_jax.reference import describe_fields, list_parts


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
