"""Which classes a result's clients take for which others: counts of their test examples, class by class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedtp_jax.config import SimulationConfig
from fedtp_jax.config.metrics import STATISTICS, columns_of, headline_of
from fedtp_jax.core.tree import Leaves
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.engine.mesh import open_mesh
from fedtp_jax.engine.workbench import Workbench
from fedtp_jax.evaluation.evaluate import Evaluator
from fedtp_jax.evaluation.measures import MEASURES, of_classes
from fedtp_jax.learning.method import Method, State, own
from fedtp_jax.learning.task import Task
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.results.reached import evaluated_rounds

if TYPE_CHECKING:
    import pandas as pd


def confusion_counts(
    config: SimulationConfig,
    built: tuple[Task, Method],
    state: State,
    data: Dataset,
    partition: Partition,
    clients: np.ndarray,
) -> np.ndarray:
    """[C, C + 1] test examples of the `clients` [K] by label and by what they predict with the final state.

    Through the evaluation's engine, on as many devices as the run had; the last column as in `Confusion`.
    """
    task, method = built
    clients = clients[partition.test.sizes[clients] > 0]
    if not len(clients):
        return np.zeros((task.num_classes, task.num_classes + 1), np.uint64)
    bench = Workbench(config, data, partition, open_mesh("auto", before=config.engine.devices))
    server: State = bench.replicate(state._replace(rows={}))

    def rows_of(ids: np.ndarray) -> Leaves:
        return method.run_by_clients(own(state.rows.take(ids)))

    def variables(server: State, rows: Any) -> Any:
        return method.variables(server._replace(rows=rows))

    row = {path: leaf[0] for path, leaf in rows_of(clients[:1]).items()}
    measures = {"f1_macro": MEASURES["f1_macro"]}
    about = bench, task, variables, method.predict, clients, server, row
    counts = Evaluator(*about, measures=measures)(server, rows_of).counts
    assert counts is not None, "F1 is made of them"
    return counts


def confusion_table(counts: np.ndarray, names: Sequence[str] = ()) -> "pd.DataFrame":
    """[C, C] counts [C, C + 1] but for their last column; `names` of the classes, or their numbers."""
    import pandas as pd

    classes = list(names or range(len(counts)))
    return pd.DataFrame(
        counts[:, :-1].astype(np.int64),
        index=pd.Index(classes, name="label"),
        columns=pd.Index(classes, name="predicted"),
    )


def class_table(counts: np.ndarray, names: Sequence[str] = ()) -> "pd.DataFrame":
    """A row per class: class, test_examples, predicted (how often), recall, precision, f1."""
    import pandas as pd

    counted = {"test_examples": counts.sum(1), "predicted": counts.sum(0)[:-1]}
    return pd.DataFrame(
        {
            "class": list(names or range(len(counts))),
            **{name: values.astype(np.int64) for name, values in counted.items()},
            **of_classes(counts),
        }
    )


def measures_table(history: "pd.DataFrame", measures: Sequence[str]) -> "pd.DataFrame":
    """A row per test and measure of the last evaluation: test, measure, pooled, and over the clients."""
    import pandas as pd

    last, headline, rows = evaluated_rounds(history).iloc[-1], headline_of(history.columns), []
    for test in (test for test in ("test", "adapted", "val") if f"{test}_{headline}" in history):
        for measure in (headline, *measures):
            rows.append([test, measure, *(float(last[f"{test}_{name}"]) for name in columns_of(measure))])
    return pd.DataFrame(rows, columns=["test", "measure", "pooled", *STATISTICS])
