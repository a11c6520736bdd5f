"""The report of a run: one HTML page that holds its own pictures and asks nothing of the network."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fedtp_jax.plots.clients import client_accuracies, worst_first
from fedtp_jax.plots.curves import learning_curves
from fedtp_jax.plots.partition import partition_bubbles
from fedtp_jax.results import page
from fedtp_jax.results.reached import evaluated_rounds
from fedtp_jax.storage.files import write_atomically

EVALUATIONS, WORST = 5, 10  # rows of the two tables
CURVES = (
    "Every client is tested on its own test examples. All examples: those of all clients together. Mean of "
    "clients: every client counts once; the band is one standard deviation."
)
TIMED = "The same over the time that the rounds would take by the virtual clock (training.clock)."
CLIENTS = "Every client counts once. The worst tenth (rounded up) is drawn in orange."
EMBEDDINGS = (
    "What the hypernetwork makes each client's own leaves from, seen along its two main directions. Clients "
    "whose data are alike lie together where the embeddings have learned what clients share."
)
PARTITION = "Training examples that each client holds, of each class where there are some."


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    config_yaml: str,
    environment: Mapping[str, Any],
    history: pd.DataFrame,
    clients: pd.DataFrame,
    counts: np.ndarray | None,
    class_names: Sequence[str] = (),
    embeddings: Figure | None,
    headline: Sequence[tuple[str, str]],
    notes: Sequence[str] = (),
) -> None:
    """Write the page, whole or not at all.

    Args:
      path: file to write or replace.
      config_yaml, environment: shown as they are; the latter may be nested.
      history, clients: as in `Result`; accuracies are fractions, and `clients` may have names.
      counts: [N, C] training examples of each class that each client holds; None: not known.
      class_names: of the classes; default: their numbers.
      embeddings: the clients' picture, None if the method has none.
      headline: (name, value) pairs at the top of the page.
      notes: warnings that a reader of the headline must know.
    """
    evaluated = evaluated_rounds(history)
    last = evaluated.tail(EVALUATIONS).drop(columns="excluded_clients")  # clients.csv has them
    names = clients["name"].tolist() if "name" in clients else ()
    worst, timed = worst_first(clients), "virtual_time" in history
    sections = {
        "Learning curves": page.picture(learning_curves(history), CURVES),
        **({"Over virtual time": page.picture(learning_curves(history, "time"), TIMED)} if timed else {}),
        "Clients at the last evaluation": page.picture(client_accuracies(clients), CLIENTS),
        **({} if counts is None else {"Partition": _partition(counts, class_names, names)}),
        **({} if embeddings is None else {"Client embeddings": page.picture(embeddings, EMBEDDINGS)}),
        f"Last {EVALUATIONS} evaluations": page.table(last, "No evaluation yet."),
        f"Worst {WORST} clients": page.table(worst.head(WORST), "No client was tested."),
        "Configuration": f"<pre>{escape(config_yaml)}</pre>",
        "Environment": page.pairs(page.flatten(environment)),
    }
    write_atomically(Path(path), page.html(title, page.pairs(headline, "headline"), sections, notes))


def _partition(counts: np.ndarray, class_names: Sequence[str], names: Sequence[str]) -> str:
    return page.picture(partition_bubbles(counts, class_names or None, names), PARTITION)
