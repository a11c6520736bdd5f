"""The report of a run: one HTML page to explore, which asks nothing of the network."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedtp_jax.pages import page
from fedtp_jax.plots.clients import Embedded
from fedtp_jax.results import explored
from fedtp_jax.results.reached import evaluated_rounds
from fedtp_jax.storage.files import write_atomically

EVALUATIONS = 5  # rows of the table


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    config_yaml: str,
    environment: Mapping[str, Any],
    history: pd.DataFrame,
    clients: pd.DataFrame,
    clients_history: pd.DataFrame | None = None,
    counts: np.ndarray | None,
    class_names: Sequence[str] = (),
    embedded: Embedded | None,
    headline: Sequence[tuple[str, str]],
    notes: Sequence[str] = (),
) -> None:
    """Write the page, whole or not at all.

    Args:
      path: file to write or replace.
      config_yaml, environment: shown as they are; the latter may be nested.
      history, clients: as in `Result`; accuracies are fractions, and `clients` may have names.
      clients_history: what every client reached in every evaluation, if that was kept.
      counts: [N, C] training examples of each class that each client holds; None: not known.
      class_names: of the classes; default: their numbers.
      embedded: the clients by their embeddings, None if the method has none.
      headline: (name, value) pairs at the top of the page.
      notes: warnings that a reader of the headline must know.
    """
    evaluated = evaluated_rounds(history)
    last = evaluated.tail(EVALUATIONS).drop(columns="excluded_clients")  # clients.csv has them
    held = {} if counts is None else {"Partition": explored.partition(counts, class_names, clients)}
    placed = {} if embedded is None else {"Client embeddings": explored.embeddings(embedded, clients)}
    sections = {
        "Learning curves": explored.curves(history),
        "Clients at the last evaluation": explored.clients(clients, clients_history),
        **held,
        **placed,
        "Clients": explored.clients_table(clients),
        f"Last {EVALUATIONS} evaluations": page.table(last, "No evaluation yet."),
        "Configuration": f"<pre>{escape(config_yaml)}</pre>",
        "Environment": page.pairs(page.flatten(environment)),
    }
    head = page.pairs(headline, "headline")
    write_atomically(Path(path), page.html(title, head, sections, notes, explored=True))
