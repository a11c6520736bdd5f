"""python -m benchmarks NAME [--out DIR]: run one benchmark, print its table, write JSON and Markdown."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg

from benchmarks.fashion_mnist import fashion_mnist
from benchmarks.ragged import ragged

BENCHMARKS = {"fashion_mnist": fashion_mnist, "ragged": ragged}


def main(
    name: Annotated[Positional[Literal["fashion_mnist", "ragged"]], arg(help="which benchmark")],
    out: Annotated[Path, arg(help="folder for the results")] = Path("benchmarks/results"),
) -> None:
    """Run one benchmark of fedtp_jax on this machine and write its figures as JSON and Markdown."""
    BENCHMARKS[name](out)


if __name__ == "__main__":
    tyro.cli(main)
