"""python -m benchmarks NAME [NAME ...] [--out DIR]: measure, print tables, write JSON, Markdown and PNG.

`python -m benchmarks paper ITEM` puts the paper's claims to the test; `python -m benchmarks board` has all
methods do one task; `python -m benchmarks trust` measures privacy, adversaries and compression.
"""

import argparse
import importlib
import sys
from pathlib import Path

from benchmarks.board.run import main as board
from benchmarks.paper.run import main as paper
from benchmarks.results import write
from benchmarks.trust.run import main as trust

BENCHMARKS = {
    "augmentation": "what it costs to alter images in every local step",
    "baseline_torch": "rounds beside a plain PyTorch simulator, with the same batches",
    "clients": "trained clients to try, each a small file with a card",
    "cohort": "from 10 to 10,000 clients a round: cost, memory, the host's share",
    "devices": "speed-up over the cores, or the accelerators, of this machine",
    "evaluation": "the evaluations' share of a run",
    "fashion_mnist": "accuracies beside the authors' code",
    "peers": "rounds beside other simulators, each in an environment of its own",
    "published": "accuracies beside a published table of personalised methods",
    "population": "from 100 to 1,000,000 clients: time and memory",
    "precision": "what bfloat16 costs in accuracy",
    "ragged": "lanes against the obvious layouts for clients of unequal size",
    "rounding": "what another number of devices changes in the figures",
    "soak": "2,000 rounds: whether memory, files or threads grow",
    "startup": "from the command to the first round, cold and warm",
    "torture": "runs that are killed, storage that fails: what is lost",
    "throughput": "examples/s and share of the machine's peak, model by model",
}


def main() -> None:
    """Run the benchmarks that the command line names, one after the other."""
    if sys.argv[1:2] == ["paper"]:
        return paper(sys.argv[2:])
    if sys.argv[1:2] == ["board"]:
        return board(sys.argv[2:])
    if sys.argv[1:2] == ["trust"]:
        return trust(sys.argv[2:])
    described = "\n".join(f"  {name:<15} {what}" for name, what in BENCHMARKS.items())
    described += "\n  paper ITEM      the paper's claims; --help after it lists them"
    described += "\n  board           all methods on one task, settings chosen on validation shards"
    described += "\n  trust           privacy, adversaries and compression: what they cost, what defends"
    parser = argparse.ArgumentParser(
        "python -m benchmarks", epilog=described, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="which benchmarks")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results"), help="folder for the results (%(default)s)"
    )
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        _refuse(f"no benchmark is called {', '.join(unknown)}; choose among {', '.join(BENCHMARKS)}")
    try:  # all of them first: a missing package must not cost an hour of measuring
        modules = [importlib.import_module(f"benchmarks.{name}") for name in arguments.names]
    except ModuleNotFoundError as error:
        _refuse(f"{error.name} is not installed; pip install '.[benchmarks]'")
    for name, module in zip(arguments.names, modules, strict=True):
        outcome = module.measure(arguments.out)
        write(name, outcome, arguments.out)
        if outcome.failure:
            sys.exit(f"{name}: {outcome.failure}")


def _refuse(message: str) -> None:
    print(message, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
