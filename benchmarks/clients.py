"""Trained clients to try, each a small file with a card: FedTP on digits and on Fashion-MNIST."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.results import Outcome
from fedtp_jax import Result, load_config, load_data, simulate
from fedtp_jax.config.plain import to_yaml
from fedtp_jax.export import export_client
from fedtp_jax.storage.files import write_atomically

ROOT, RUNS = Path(__file__).parents[1], Path("runs/clients")
CLIENT = 7
DESCRIPTION = """\
One client of FedTP on each of two data sets, as `fedtp export` writes it, with a card beside it
([digits](clients/digits.md), [fashion_mnist](clients/fashion_mnist.md)): what it was trained on, what it
reaches on its own test examples, how to load it. They are there to be loaded and run, not to be good at
anything else: a client has seen two classes.
"""
CARD = """\
# Client {client} of FedTP on {data}

[`{data}.safetensors`]({data}.safetensors), {size:,} bytes: the variables of one of {clients} clients, its own
attention, which the server's hypernetwork generates, in its place. It is for the classes that it holds; on
others it was never tested.

| | |
| --- | --- |
| classes that it holds | {classes} |
| training examples, test examples | {examples}, {tested} |
| accuracy on its own test examples | {accuracy:.1f} % |
| accuracy of all clients | {headline:.1f} % |
| rounds, of which it trained in | {rounds}, {trained} |
| data | {source} |
| licence | MIT, as the code |

How it is loaded, and run without the simulator, is in [Export a client](../../../docs/export.md); another run
starts from it with `simulate(..., init="{data}.safetensors")`. `python -m benchmarks clients` made it with

```yaml
{config}```
"""


class Task(NamedTuple):
    """A configuration's file, what of it is changed, and where its data come from."""

    file: str
    changes: dict[str, Any]
    source: str


TASKS = {
    "digits": Task(
        "quickstart.yaml", {}, "handwritten digits, 8x8, UCI (E. Alpaydin, C. Kaynak), within scikit-learn"
    ),
    "fashion_mnist": Task(
        "fashion_mnist_pathological_50.yaml",
        {"method.hypernetwork.learning_rate": 0.1},
        "Fashion-MNIST, 28x28 (H. Xiao, K. Rasul, R. Vollgraf, 2017; MIT licence)",
    ),
}


def measure(out: Path) -> Outcome:
    """Some minutes on 2 cores; what is finished in runs/clients is not run again."""
    rows = [_made(name, task, out / "clients") for name, task in TASKS.items()]
    (figure,) = [row.pop("figure") for row in rows][-1:]
    return Outcome(DESCRIPTION, {"Clients": pd.DataFrame(rows)}, figure)


def _made(name: str, task: Task, folder: Path) -> dict[str, Any]:
    """Train, export and describe one."""
    config = load_config(ROOT / "configs" / task.file, task.changes)
    config = dataclasses.replace(config, checkpoint=dataclasses.replace(config.checkpoint, every=50))
    run = RUNS / name
    result = simulate(config, out=run, resume=(run / "config.yaml").exists())
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.safetensors"
    export_client(result, CLIENT, file, overwrite=True)
    facts = _facts(result, file)
    card = CARD.format(data=name, source=task.source, config=to_yaml(config), **facts)
    write_atomically(folder / f"{name}.md", card)
    shown = {
        "data": name,
        "bytes": facts["size"],
        "accuracy, its own test examples, %": round(facts["accuracy"], 1),
    }
    return shown | {"accuracy, all clients, %": round(facts["headline"], 1), "figure": result.plot_clients()}


def _facts(result: Result, file: Path) -> dict[str, Any]:
    (row,) = result.clients[result.clients["client"] == CLIENT].to_dict("records")
    data = load_data(result.config.data)
    held = np.flatnonzero(result.partition.train.class_counts(data.strata[0], data.strata[2])[CLIENT])
    names = data.strata_names or [str(k) for k in range(data.strata[2])]
    return {
        "client": CLIENT,
        "clients": len(result.clients),
        "size": file.stat().st_size,
        "classes": ", ".join(names[k] for k in held),
        "examples": int(row["train_examples"]),
        "tested": int(row["test_examples"]),
        "accuracy": 100 * row["test_accuracy"],
        "headline": 100 * result.accuracy["last"],
        "rounds": result.config.training.rounds,
        "trained": int(result.state.rows.trained[CLIENT]),
    }
