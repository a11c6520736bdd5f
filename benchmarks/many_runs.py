"""What benchmarks of many runs have in common: their command line, and a few rounds of each to try it."""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fedtp_jax import SimulationConfig, UserError

Run = Callable[[argparse.Namespace], None]


def answer(parser: argparse.ArgumentParser, arguments: Sequence[str], quick: str, out: str, run: Run) -> None:
    """Add --quick (which is `quick`), --out (by default `out`) and --processes, and `run` what is asked for.

    Exits with 2 after a UserError, with 130 after Ctrl-C.
    """
    parser.add_argument("--quick", action="store_true", help=f"{quick}: does it all work?")
    parser.add_argument("--out", type=Path, default=Path(out), help="folder for the runs (%(default)s)")
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        help="runs at once, each with its share of the cores (%(default)s)",
    )
    try:
        run(parser.parse_args(arguments))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        sys.exit(130)


def shortened(config: SimulationConfig, **training: Any) -> SimulationConfig:
    """`config` with these fields of its training, evaluated after every round."""
    return dataclasses.replace(
        config,
        training=dataclasses.replace(config.training, **training),
        evaluation=dataclasses.replace(config.evaluation, every=1),
    )
