"""What finished runs have found, in three CSV files that are committed: what is in them is not run again.

Several processes may add to them.
"""

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from fedtp_jax import Result, SimulationConfig
from fedtp_jax.comparison.compared_run import ComparedRun
from fedtp_jax.comparison.differing_fields import MACHINE
from fedtp_jax.config.load import replaced
from fedtp_jax.config.plain import flat, to_dict
from fedtp_jax.plots.style import to_png
from fedtp_jax.storage.csv_log import write_csv
from fedtp_jax.storage.files import write_atomically

HISTORY = ("round", "test_accuracy", "test_client_mean", "test_worst_decile", "clients_tested", "excluded")
TABLES = {
    "runs": ["run", "seed", "partition", "rounds", "seconds", "machine", "settings"],
    "evaluations": ["run", "seed", *HISTORY],
    "clients": ["run", "seed", "client", "test_accuracy"],
}
TEXTS = {"run": str, "partition": str}
LATER = {
    "server.aggregation.name": "mean"
}  # names of what there was no choice of when the first runs were kept


def told_of(config: SimulationConfig) -> str:
    """Names, and what differs from the defaults, as JSON; seed and machine aside.

    An option that is added to fedtp_jax leaves it as it is.
    """
    fields = flat(to_dict(config))
    fields = {field: value for field, value in fields.items() if field not in (*MACHINE, "seed")}
    fields = {field: value for field, value in fields.items() if field not in LATER or LATER[field] != value}
    names: dict[str, Any] = {}
    for field, value in fields.items():
        *path, last = field.split(".")
        if last == "name":
            section = names
            for word in path:
                section = section.setdefault(word, {})
            section["name"] = value
    usual = flat(to_dict(replaced(None, names)))
    told = {
        field: value
        for field, value in fields.items()
        if field.endswith(".name") or field not in usual or value != usual[field]
    }
    return json.dumps(told, sort_keys=True)


@functools.cache
def key_of(*configs: SimulationConfig) -> str:
    """12 hex digits that tell a run, or runs that are measured together, by their settings."""
    told = "\n".join(map(told_of, configs))
    return hashlib.sha256(told.encode()).hexdigest()[:12]


class Store:
    """The tables in a folder; accuracies are rounded to 5 digits, a hundredth of one example in 1,000."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.read()

    def read(self) -> None:
        """Take in what other processes have added."""
        self.tables = {
            name: pd.read_csv(path, dtype=TEXTS)
            if (path := self._folder / f"{name}.csv").exists()
            else pd.DataFrame(columns=columns)
            for name, columns in TABLES.items()
        }

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def has(self, config: SimulationConfig) -> bool:
        """Whether this run is finished."""
        return not self._rows("runs", config).empty

    def _rows(self, name: str, config: SimulationConfig) -> pd.DataFrame:
        table = self.tables[name]
        return table[(table["run"] == key_of(config)) & (table["seed"] == config.seed)]

    def add(self, result: Result, seconds: float, machine: str) -> None:
        """Keep a finished run, which took so many seconds of training and evaluation."""
        own: dict[str, Any] = {"run": key_of(result.config), "seed": result.config.seed}
        about = {
            "partition": result.data_spec.partition,
            "rounds": len(result.history),
            "seconds": round(seconds),
            "machine": machine,
            "settings": told_of(result.config),
        }
        found = {
            "runs": pd.DataFrame([about]),
            "evaluations": result.history.dropna(subset="test_accuracy")[[*HISTORY]],
            "clients": result.clients[["client", "test_accuracy"]],
        }
        with self._locked():
            self.read()
            for name in ("evaluations", "clients", "runs"):  # the last says that the others are whole
                table = self.tables[name]
                kept = table[(table["run"] != own["run"]) | (table["seed"] != own["seed"])]
                parts = [part for part in (kept, found[name].round(5).assign(**own)) if not part.empty]
                self.tables[name] = pd.concat(parts)[TABLES[name]]
                write_csv(self._folder / f"{name}.csv", self.tables[name])

    def add_measured(self, item: str, group: Sequence[SimulationConfig], rows: pd.DataFrame) -> None:
        """Keep what was measured of runs of one seed beside their accuracy, in ITEM_measured.csv."""
        path, key, seed = self._folder / f"{item}_measured.csv", key_of(*group), group[0].seed
        rows = rows.assign(run=key)
        with self._locked():
            if path.exists():
                before = pd.read_csv(path, dtype=TEXTS)
                again = (before["run"] == key) & (before["seed"] == seed)
                rows = pd.concat([before[~again], rows])
            write_csv(path, rows)

    def measured(self, item: str, groups: Sequence[Sequence[SimulationConfig]]) -> pd.DataFrame:
        """The rows that were measured of these groups; none if there is no ITEM_measured.csv."""
        path = self._folder / f"{item}_measured.csv"
        if not path.exists():
            return pd.DataFrame()
        rows = pd.read_csv(path, dtype=TEXTS)
        wanted = {(key_of(*group), group[0].seed) for group in groups}
        return rows[[run in wanted for run in zip(rows["run"], rows["seed"], strict=True)]]

    def draw(self, name: str, figure: Figure) -> None:
        """Keep a picture."""
        write_atomically(self._folder / name, to_png(figure))

    def compared_run(self, config: SimulationConfig) -> ComparedRun:
        """A finished run as `fedtp_jax.compare` takes it."""
        (about,) = self._rows("runs", config).to_dict("records")
        return ComparedRun(
            to_dict(config),
            self._rows("evaluations", config).reset_index(drop=True),
            self._rows("clients", config).reset_index(drop=True),
            find_fingerprint=lambda: str(about["partition"]),
            folder=None,
            where=f"run {about['run']}, seed {config.seed}",
            ended=True,
        )

    def hours(self, configs: Sequence[SimulationConfig]) -> float:
        """How long these runs took."""
        return float(sum(self._rows("runs", config)["seconds"].sum() for config in configs)) / 3600

    def machines(self, configs: Sequence[SimulationConfig]) -> list[str]:
        """On what these runs were made."""
        return sorted({name for config in configs for name in self._rows("runs", config)["machine"]})


def percent(values: pd.Series) -> str:
    """Mean ± sample std of fractions in percent."""
    spread = f" ± {100 * values.std():.1f}" if len(values) > 1 else ""
    return f"{100 * values.mean():.1f}{spread}"


def with_seeds(configs: Sequence[SimulationConfig], seeds: Sequence[int]) -> list[SimulationConfig]:
    """Every configuration with each seed."""
    return [dataclasses.replace(config, seed=seed) for config in configs for seed in seeds]


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether no other process has the file `path`, which is made; if so it is this one's until the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
