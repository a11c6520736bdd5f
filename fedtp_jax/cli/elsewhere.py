"""Flags of a sweep that leaves this process: processes here, SLURM, Ray."""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import UseAppendAction, arg

from fedtp_jax.core.errors import UserError

if TYPE_CHECKING:
    from fedtp_jax.sweeps.board import Board
    from fedtp_jax.sweeps.combinations import Combination
    from fedtp_jax.sweeps.crew import Crew


@dataclasses.dataclass(frozen=True)
class WhereFlags:
    """Where a sweep's combinations are worked on."""

    on: Annotated[
        Literal["here", "slurm", "ray"],
        arg(help="here; as jobs of SLURM (one array), which go on when this is left; on a Ray cluster"),
    ] = "here"
    processes: Annotated[
        int | None,
        arg(
            metavar="N", help="combinations at once; default: 1 here, elsewhere as many as there is room for"
        ),
    ] = None
    cpus: Annotated[int | None, arg(metavar="N", help="of each, on SLURM or Ray; default: 1")] = None
    gpus: Annotated[
        float | None, arg(metavar="N", help="of each, on SLURM or Ray, there also a part, 0.5; default: none")
    ] = None
    time: Annotated[
        int | None,
        arg(metavar="MINUTES", help="a SLURM job's limit, after which it is queued again; default: 240"),
    ] = None
    partition: Annotated[str | None, arg(metavar="NAME", help="SLURM's; default: the cluster's")] = None
    slurm: Annotated[
        tuple[str, ...],
        UseAppendAction,
        arg(metavar="NAME=VALUE", help="another of sbatch's options, such as account=lab; once for each"),
    ] = ()


HERE = WhereFlags()
SHORTEST = 5  # minutes of a job


def crew_of(
    flags: WhereFlags, combinations: "Sequence[Combination]", out: Path, board: "Board"
) -> "Crew | None":
    """Who does it; None: this process."""
    from fedtp_jax.sweeps.here import crew_here

    for name in ("processes", "cpus", "time"):
        value = getattr(flags, name)
        if value is not None and value < 1:
            raise UserError(f"--{name}: got {value}, expected a whole number of at least 1")
    if flags.gpus is not None and not 0 <= flags.gpus < 100:
        raise UserError(f"--gpus: got {flags.gpus}, expected a number of at least 0, such as 1 or 0.5")
    of = {"cpus": ("slurm", "ray"), "gpus": ("slurm", "ray")} | dict.fromkeys(
        ("time", "partition", "slurm"), ("slurm",)
    )
    for name, places in of.items():
        if flags.on not in places and getattr(flags, name) not in (None, ()):
            raise UserError(f"--{name}: is for --on {' or --on '.join(places)}; leave it out, or say where")
    if flags.on == "here":
        return crew_here(combinations, flags.processes or 1)
    cpus, gpus = flags.cpus or 1, flags.gpus or 0
    if flags.time is not None and flags.time < SHORTEST:
        raise UserError(
            f"--time: got {flags.time}, expected at least {SHORTEST} minutes, two of them for the last round"
        )
    if flags.on == "ray":
        from fedtp_jax.sweeps.on_ray import Ray

        return Ray(flags.processes, cpus, gpus)
    from fedtp_jax.sweeps.on_slurm import Slurm

    more = dict(_pair(given) for given in flags.slurm)
    return Slurm(out, board, flags.processes, cpus, gpus, flags.time or 240, flags.partition, more)


def _pair(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not (name and equals and value):
        raise UserError(f"--slurm: got {given!r}, expected NAME=VALUE, such as account=lab")
    return name, value


def again(flags: WhereFlags) -> str:
    """The flags as they were given, to be given once more."""
    said = [f"--on {flags.on}"] if flags.on != "here" else []
    for name in ("processes", "cpus", "gpus", "time", "partition"):
        if (value := getattr(flags, name)) is not None:
            given = f"{value:g}" if isinstance(value, float) else str(value)
            said.append(f"--{name} {shlex.quote(given)}")
    said += [f"--slurm {shlex.quote(given)}" for given in flags.slurm]
    return "".join(f" {words}" for words in said)
