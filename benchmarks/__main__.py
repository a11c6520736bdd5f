"""python -m benchmarks NAME [--out DIR]: run one benchmark, print its table, write JSON and Markdown."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg

from benchmarks.ragged import ragged
from benchmarks.results import write

BENCHMARKS = {"ragged": ragged}


def main(
    name: Annotated[Positional[Literal["ragged"]], arg(help="which benchmark")],
    out: Annotated[Path | None, arg(help="folder for NAME.json and NAME.md")] = None,
    repeats: Annotated[int, arg(help="timed repetitions; the median counts")] = 5,
) -> None:
    """Run one benchmark of fedtp_jax on this machine."""
    table = BENCHMARKS[name](repeats)
    write(name, BENCHMARKS[name].__doc__ or "", table, out)


if __name__ == "__main__":
    tyro.cli(main)
