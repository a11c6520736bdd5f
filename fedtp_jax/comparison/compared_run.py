"""What a comparison needs of a run, from a result or from a run's folder, without the run's state."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, get_args, runtime_checkable

import numpy as np
import pandas as pd

from fedtp_jax.config import SimulationConfig, metrics, name_of
from fedtp_jax.config.fields import ValidationMetric
from fedtp_jax.config.metrics import HEADLINES, METRICS, STATISTICS, columns_of
from fedtp_jax.config.plain import flat, to_dict
from fedtp_jax.config.yaml_files import read_yaml
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.identity import UNKNOWN
from fedtp_jax.partitions.files import load_partition
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.storage.csv_log import csv_rows
from fedtp_jax.storage.run_folder import RunFolder, in_order, read_inputs

HISTORY = "round", "clients_tested", "excluded"
CLIENTS = ("client",)
RANDOM = {"init.of": "drawn", "init.identity": "drawn"}  # where no variables were given to start from
NOT_ALWAYS = (  # version 0.1.0 had no mean; not every run adapts, validates, or has all measures or a clock
    *("virtual_time", "test_loss"),
    *(f"{test}_{name}_mean" for test in ("test", "adapted") for name in HEADLINES.values()),
    *get_args(ValidationMetric),
    *(f"{test}_{c}" for test in ("test", "adapted") for name in METRICS for c in columns_of(name)),
)


@runtime_checkable
class Finished(Protocol):
    """What is compared of a `Result`, which imports this module and so cannot be named here."""

    @property
    def config(self) -> SimulationConfig: ...
    @property
    def history(self) -> pd.DataFrame: ...
    @property
    def clients(self) -> pd.DataFrame: ...
    @property
    def partition(self) -> Partition: ...
    @property
    def data_spec(self) -> DataSpec: ...


@dataclasses.dataclass(frozen=True, eq=False)
class ComparedRun:
    """One run: its configuration and tables.

    Attributes:
      config: as to_dict gives it, and what the run read: names and identities of data and own parts.
      history, clients: as in Result, or those columns that are compared.
      find_fingerprint: gives the partition's, which takes a while where it has to be read.
      folder: of the run, None of a run that is not on disk.
      where: names the run in messages.
      ended: whether it has come to its end, be it before its last round.
    """

    config: dict[str, Any]
    history: pd.DataFrame
    clients: pd.DataFrame
    find_fingerprint: Callable[[], str]
    folder: Path | None
    where: str
    ended: bool

    @classmethod
    def of(cls, result: Finished) -> "ComparedRun":
        """That of a result."""
        where = f"{name_of(result.config.method)}, seed {result.config.seed}"
        config = _with_inputs(to_dict(result.config), result.data_spec.inputs(result.config), where)
        fingerprint = result.partition.fingerprint
        return cls(config, result.history, result.clients, fingerprint, None, where, ended=True)

    @classmethod
    def read(cls, path: Path) -> "ComparedRun":
        """That in a run's folder, its tables reduced to what is compared; they may still be empty."""
        run = RunFolder.open(path)
        config = read_yaml(run.config, "training:")
        try:
            config = _with_inputs(config, read_inputs(run), str(path))
            history, clients = _table(run.metrics.path, HISTORY), _table(run.clients, CLIENTS)
            ended, fingerprint = run.report.is_file(), functools.partial(_fingerprint, run)
            found = cls(config, history, clients, fingerprint, path, str(path), ended)
            ended = ended or found.rounds >= found.planned
            _ = found.seed, found.window, config["method"]["name"]  # a foreign file lacks them
            for table in (history, clients):
                _ = table[f"test_{found.headline}"] if len(table) else None
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # a row may lack cells
            raise UserError(f"{path}: cannot be read as a run ({error!r}); run it again") from None
        return dataclasses.replace(found, ended=ended)

    @property
    def identities(self) -> dict[str, str]:
        """{part: what it is} of the data and of parts that were made in Python."""
        return {
            field.removesuffix(".identity"): value
            for field, value in flat(self.config).items()
            if field.endswith(".identity")
        }

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def planned(self) -> int:
        """How many rounds the configuration asks for."""
        return int(self.config["training"]["rounds"])

    @property
    def rounds(self) -> int:
        """How many are done."""
        return 0 if self.history.empty else int(self.history["round"].max())

    @property
    def finished(self) -> bool:
        """Whether there is anything to compare, and nothing more to come."""
        return self.ended and not self.evaluated.empty

    @functools.cached_property
    def evaluated(self) -> pd.DataFrame:
        """The evaluated rounds of the history."""
        return self.history.dropna(subset="clients_tested")

    @property
    def headline(self) -> str:
        """The measure that every evaluation has."""
        return metrics.headline_of(self.history.columns)

    @property
    def window(self) -> int:
        """Over how many last evaluations the headline is the mean."""
        return min(int(self.config["evaluation"]["last"]), len(self.evaluated))

    @property
    def excluded(self) -> str:
        """How many uploads it left out as they were not finite, "" if none."""
        if "excluded" not in self.history:  # a table of evaluations alone
            return ""
        uploads, rounds = int(self.history["excluded"].sum()), int((self.history["excluded"] > 0).sum())
        return f"{uploads:,} in {count_of(rounds, 'round')}" if uploads else ""

    def measure(self, metric: str) -> float:
        """What Result.accuracy calls "mean" (for the headline), client_mean or worst_decile.

        Of adapted_accuracy and so on what Result.adapted has; of further measures the same.
        """
        column = self.evaluated[column_of(metric)]
        return float(column.tail(self.window).mean() if is_mean(metric) else column.iloc[-1])

    def validated(self, metric: str) -> float:
        """The mean of a metric of validation shards over the last evaluations; UserError without such."""
        if metric not in self.history:
            raise UserError(
                f"{self.where}: did not measure {metric}, for it has no validation shards; run it anew with "
                "partition.validation=0.1"
            )
        return float(self.evaluated[metric].tail(self.window).mean())

    def has_means(self, metric: str) -> bool:
        """Whether it says what its clients reach in the evaluations that `measure` is of."""
        return not is_mean(metric) or self.window == 1 or f"{column_of(metric)}_mean" in self.clients

    def client_accuracies(self, metric: str) -> pd.Series:
        """[N] by client, in the evaluations that `measure` is of, NaN for one that was not tested.

        Those of the last evaluation where the run says no more.
        """
        several = is_mean(metric) and self.window > 1 and self.has_means(metric)
        measured = f"{column_of(metric).partition('_')[0]}_{measure_of(metric)}"
        return self.clients.set_index("client")[f"{measured}_mean" if several else measured]

    @functools.cached_property
    def fingerprint(self) -> str:
        """That of the partition."""
        return self.find_fingerprint()


def column_of(metric: str) -> str:
    """The column of a run's history that a metric is of."""
    return metric if metric.startswith("adapted_") else f"test_{metric}"


def is_mean(metric: str) -> bool:
    """Whether a metric is a mean over the last evaluations, and not of the last one alone."""
    return not metric.endswith(STATISTICS)


def measure_of(metric: str) -> str:
    """What is measured: "f1_macro" for adapted_f1_macro_client_mean, "accuracy" for client_mean."""
    return metrics.measure_of(metric.removeprefix("adapted_"))


def run_folders(path: Path) -> list[Path]:
    """The folders of runs at or below `path`: one run's, some seeds', a sweep's, or any folder of such."""
    if not path.is_dir():
        raise UserError(
            f"{path}: there is no such folder; give the folder of a run, of some seeds or a sweep"
        )
    found = _below(path)
    if not found:
        raise UserError(
            f"{path}: holds no run (no config.yaml in it or below it); give the folder of a run, of some "
            "seeds or a sweep"
        )
    return found


def _fingerprint(run: RunFolder) -> str:
    return load_partition(run.partition).fingerprint()


def _with_inputs(config: dict[str, Any], inputs: Mapping[str, str], where: str) -> dict[str, Any]:
    """The configuration and what the run read; each part that it only names has an identity, or "unknown"."""
    found = {**RANDOM, **config, **inputs}
    facts = flat(found)
    only_named = [field.removesuffix(".of") for field in facts if field.endswith(".of")]
    only_named += ["data"] * (facts.get("data.name") in ("npz", "arrays"))
    only_named += ["partition"] * (facts.get("partition.name") == "file")
    participation = (facts.get(f"training.participation.{name}") for name in ("trace", "cohorts"))
    only_named += ["training.participation"] * any(isinstance(given, str) for given in participation)
    only_named += ["training.clock"] * isinstance(facts.get("training.clock.trace"), str)
    missing = [f"{part}.identity" for part in only_named if f"{part}.identity" not in facts]
    return found | dict.fromkeys(missing, f"{UNKNOWN} (to version 0.1.0) {where}")


def _below(path: Path) -> list[Path]:
    if (path / "config.yaml").is_file():
        return [path]
    names = [inner.name for inner in path.iterdir() if inner.is_dir()]
    return [run for name in in_order(path, names) for run in _below(path / name)]


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """These columns of a run's table, every float to the last bit; empty if there is none yet."""
    rows = csv_rows(path.read_bytes()) if path.is_file() else []
    columns = [*columns, *(name for name in NOT_ALWAYS if rows and name in rows[0])]
    return pd.DataFrame({name: np.array([row[name] for row in rows], np.float64) for name in columns})
