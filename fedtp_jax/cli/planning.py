"""The commands for what comes before a run: `fedtp plan | list | partition | prepare`."""

import json as jsonlib
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console
from tyro.conf import Positional, arg

from fedtp_jax.cli.output import expect_picture, show, tell, write_picture
from fedtp_jax.cli.runs import Overrides
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError, nearest
from fedtp_jax.engine.targets import TARGETS, check_installed


def plan(
    config: Annotated[Positional[Path], arg(help="a YAML file, such as configs/quickstart.yaml")],
    overrides: Overrides = (),
    json: Annotated[bool, arg(help="print the numbers as one JSON object")] = False,
    leaves: Annotated[
        bool, arg(help="a line for every leaf; default: one for those alike, as in all blocks")
    ] = False,
    picture: Annotated[
        Path | None, arg(metavar="FILE", help="a .png, .pdf or .svg file: who sits on which lane in round 1")
    ] = None,
    target: Annotated[
        str | None,
        arg(metavar="NAME", help=f"compile for {', '.join(TARGETS)} in place of this machine; run nothing"),
    ] = None,
) -> int:
    """Say what a run will cost, and what each leaf's role is, without training it.

    Occupancy, memory, traffic, an estimate of its time; shared, personal, generated and fixed leaves.
    """
    if target is not None:
        return _plan_target(config, overrides, json, leaves, picture, target)
    from fedtp_jax.cli.tables import leaves_table, plan_table
    from fedtp_jax.config.load import load_config
    from fedtp_jax.engine.compilation_cache import keep_programs
    from fedtp_jax.simulation.plan import plan_run

    expect_picture("--picture", picture)
    keep_programs()
    settings = load_config(config, overrides)
    with Console(stderr=True).status("compiling, and timing a few ticks"):
        made = plan_run(settings)
    if picture is not None:
        from fedtp_jax.plots.lanes import lane_schedule

        load = made.training
        which = f"first of {load.waves:,} waves, " if load.waves > 1 else ""
        who, where = count_of(len(load.stays), "client"), count_of(made.devices * load.lanes, "lane")
        title = f"Round 1: {which}{who} on {where}"
        write_picture("--picture", picture, lane_schedule(load.stays, made.devices, load.lanes, title))
    if json:
        tell(jsonlib.dumps(made.figures()))
        return 0
    show(plan_table(made))
    show(leaves_table(made.leaves, leaves), whole=True)
    return 0


def _plan_target(
    config: Path, overrides: Overrides, json: bool, leaves: bool, picture: Path | None, target: str
) -> int:
    from fedtp_jax.cli.tables import leaves_table
    from fedtp_jax.cli.target_table import target_table
    from fedtp_jax.config.load import load_config
    from fedtp_jax.engine.described import prepare_process
    from fedtp_jax.simulation.plan_target import plan_target

    if picture is not None:
        raise UserError("--picture: shows the lanes of this machine's devices; leave it out beside --target")
    if target not in TARGETS:
        raise UserError(
            f"--target: got {target!r}{nearest(target, TARGETS)}, expected one of {', '.join(TARGETS)}"
        )
    check_installed(target)
    prepare_process(target)
    settings = load_config(config, overrides)
    with Console(stderr=True).status(f"compiling for {target}, which may take minutes"):
        made = plan_target(settings, target)
    if json:
        tell(jsonlib.dumps(made.figures()))
    else:
        show(target_table(made))
        show(leaves_table(made.leaves, leaves), whole=True)
    return 0 if made.works else 1


def list_(
    what: Annotated[
        Positional[Literal["methods", "models", "datasets", "partitions"]], arg(help="what to list")
    ],
) -> int:
    """List what can be chosen by name."""
    from fedtp_jax.config.describe import list_parts

    tell(list_parts(what))
    return 0


def partition(
    config: Annotated[Positional[Path], arg(help="a YAML file, such as configs/quickstart.yaml")],
    overrides: Overrides = (),
    out: Annotated[Path | None, arg(help="folder for partition.npz, .csv and .png")] = None,
) -> int:
    """Show who holds which classes, as a table; with --out save the index lists, a table and a picture."""
    from fedtp_jax.cli.tables import partition_table
    from fedtp_jax.config.load import load_config
    from fedtp_jax.data.sources import load
    from fedtp_jax.partitions.files import save_partition
    from fedtp_jax.partitions.holdings import holdings
    from fedtp_jax.partitions.make import client_names, make_partition
    from fedtp_jax.plots.partition import partition_bubbles
    from fedtp_jax.plots.style import to_png
    from fedtp_jax.storage.csv_log import write_csv
    from fedtp_jax.storage.files import write_atomically

    settings = load_config(config, overrides)
    data = load(settings.data, settings.task.kind)
    made = make_partition(settings.partition, data, settings.seed)
    counts = made.train.class_counts(data.strata[0], data.strata[2])
    names = client_names(settings.partition, data)
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            save_partition(made, out / "partition.npz")
            write_csv(out / "partition.csv", holdings(made, data, names))
            bubbles = partition_bubbles(counts, data.strata_names, names)
            write_atomically(out / "partition.png", to_png(bubbles))
        except OSError as error:
            raise UserError(
                f"--out {out}: cannot be written ({error.strerror}); choose another folder"
            ) from None
    show(partition_table(counts, data.strata_names, clients_names=names), whole=True)
    tell(f"{data.name} from {data.source}; partition fingerprint {made.fingerprint()}")
    if made.validation is not None:
        tell(
            "set aside for validation, and not in the table: "
            f"{count_of(len(made.validation.indices), 'train example')}"
        )
    if out is not None:
        tell(f"wrote partition.npz, partition.csv and partition.png into {out}")
    return 0


def prepare(
    dataset: Annotated[Positional[str], arg(help="fashion_mnist, mnist, emnist/SPLIT, cifar10 or cifar100")],
    directory: Annotated[Path | None, arg(help="folder with the original files")] = None,
    download: Annotated[bool, arg(help="fetch the original files from their publisher first")] = False,
    data_dir: Annotated[Path | None, arg(help="TFDS folder to write; default: TFDS_DATA_DIR")] = None,
) -> int:
    """Make a TFDS folder of a data set that `fedtp run` and TFDS itself read; no TensorFlow needed."""
    from fedtp_jax.data.prepare import prepare as prepare_dataset

    written = prepare_dataset(dataset, directory=directory, download=download, data_dir=data_dir)
    tell(f"prepared {written}")
    return 0
