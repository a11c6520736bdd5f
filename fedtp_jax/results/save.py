"""A result as a run's folder: what a run leaves, all of it."""

from pathlib import Path
from typing import Any

from fedtp_jax.config import SimulationConfig
from fedtp_jax.config.metrics import measure_names
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.evaluation.measures import MEASURES
from fedtp_jax.evaluation.parts import Confusion
from fedtp_jax.results.run_report import report_result
from fedtp_jax.storage.csv_log import write_csv
from fedtp_jax.storage.run_folder import RunFolder
from fedtp_jax.storage.stored_result import StoredResult, write_result


def save_result(result: Any, path: Path, data: Dataset | None = None) -> None:
    """As `Result.save`, of a `Result`."""
    found = _data_of(result, data)
    parts = (result.config, result.history, result.clients, result.timing, result.state, result.partition)
    told = result.data_spec, result.init, result.kept_best, result.clients_history, result.ended
    classes = result.classes(data=found) if found and _counts_classes(result.config) else None

    def write_rest(run: RunFolder) -> None:
        if classes is not None:
            write_csv(run.classes, classes)
        if result.ended:  # who finds a report takes a run for finished
            counts = result._class_counts(found) if found else None
            report_result(run.report, result, counts, found.strata_names if found else ())

    write_result(path, StoredResult(*parts, *told), write_rest)


def _counts_classes(config: SimulationConfig) -> bool:
    """Whether there is a classes.csv, and of what the clients predict without their examples."""
    asked = [MEASURES[name] for name in measure_names(config.evaluation.metrics) if name in MEASURES]
    by_class = any(measure.needs is Confusion for measure in asked)
    return config.task.kind == "classification" and by_class and not config.evaluation.knn.weight


def _data_of(result: Any, data: Dataset | None) -> Dataset | None:
    """The run's data; None where nobody gives them, and they are not where the configuration names them."""
    try:
        return result._own_data(data)
    except UserError:
        if data is not None:
            raise
        return None
