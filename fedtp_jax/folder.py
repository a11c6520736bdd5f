"""The folder of a run: its files, written so that a killed run can go on as if it had never stopped.

config.yaml, environment.json, partition.npz, metrics.csv (a row a round, nothing that depends on the clock),
timing.csv, clients.csv (a row a client of the last evaluation), checkpoints/, report.html.
"""

import csv
import fcntl
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO

import jax
import pandas as pd

from fedtp_jax.errors import UserError

TEXTS = ("name", "excluded_clients")  # columns that are not numbers
PACKAGES = ("fedtp_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pandas")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside and rename: a reader, or a killed process, sees the old file or the new one, no half."""
    scratch = path.with_name(path.name + ".part")
    scratch.write_bytes(content.encode() if isinstance(content, str) else content)
    scratch.replace(path)


class RunFolder:
    """Paths and files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.environment = path / "environment.json"
        self.partition = path / "partition.npz"
        self.clients = path / "clients.csv"
        self.checkpoints = path / "checkpoints"
        self.report = path / "report.html"
        self.metrics = CsvLog(path / "metrics.csv")
        self.timing = CsvLog(path / "timing.csv")
        self._held: BinaryIO | None = None

    @classmethod
    def create(cls, path: Path) -> "RunFolder":
        """A new folder; an existing one must be empty, so that no run overwrites another."""
        cls.check_free(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{path}: cannot be created ({error.strerror}); choose another folder") from None
        return cls(path)

    @staticmethod
    def check_free(path: Path) -> None:
        """Raise UserError unless `path` can become a new run's folder."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            hint = (
                f" (to go on with the run in it: fedtp resume {path})"
                if (path / "config.yaml").exists()
                else ""
            )
            raise UserError(f"{path}: exists and is not an empty folder; choose another{hint}")

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """The folder of a run that was started before."""
        if not (path / "config.yaml").is_file():
            raise UserError(
                f"{path}: is not the folder of a run (it has no config.yaml); give the folder itself"
            )
        return cls(path)

    def hold(self) -> None:
        """Keep the folder for this process until `release`; UserError if another one has it.

        The lock is on config.yaml and ends with the process, however it ends.
        """
        file = self.config.open("rb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise UserError(
                f"{self.path}: another process is at work on this run; wait for its end, or stop it"
            ) from None
        except OSError:
            pass  # a file system without locks
        self._held = file

    def release(self) -> None:
        """Let others have the folder."""
        if self._held is not None:
            self._held.close()
            self._held = None

    @classmethod
    def fresh(cls, stem: str, root: Path = Path("runs")) -> Path:
        """runs/stem, or runs/stem-2, runs/stem-3 ... : the first that is free."""
        number = 1
        while (path := root / (stem if number == 1 else f"{stem}-{number}")).exists():
            number += 1
        return path


class SeedsFolder:
    """The folder of the runs with several seeds: one run in each of its folders seed-0, seed-1, ..."""

    def __init__(self, path: Path) -> None:
        self.path, self._content = path, path / "seeds.json"

    def create(self, config: Mapping[str, Any], seeds: Sequence[int]) -> None:
        """Make the folder, which must be free, and note what is run in it."""
        RunFolder.create(self.path)
        self.note(config, seeds)

    def note(self, config: Mapping[str, Any], seeds: Sequence[int]) -> None:
        """Say what is run in the folder, which may hold some of it already."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self._content, {"seeds": list(seeds), "config": dict(config)})

    def run(self, seed: int) -> Path:
        """The folder of one run."""
        return self.path / f"seed-{seed}"

    def read(self) -> tuple[dict[str, Any], list[int]] | None:
        """(configuration, seeds), or None if it is not such a folder."""
        if not self._content.is_file():
            return None
        content = json.loads(self._content.read_text())
        return content["config"], content["seeds"]


class CsvLog:
    """A CSV file to which a row is appended at a time. Floats are written with all their digits."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIOWrapper | None = None

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row (the first one writes the header) and hand it to the operating system."""
        if self._file is None:
            new = not self.path.exists() or self.path.stat().st_size == 0
            self._file = self.path.open("a", encoding="utf-8", newline="")
            if new:
                self._file.write(",".join(row) + "\n")
        self._file.write(",".join(_cell(value) for value in row.values()) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Force the rows to disk, so that a checkpoint never knows of a round that the file has lost."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def keep_rounds(self, rounds: int, required: bool = True) -> None:
        """Drop rows after the round `rounds`, and torn ones: a resumed run does that work again."""
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        lines = [line for line in lines if line.endswith(b"\n")]
        numbers = [line.split(b",")[0] for line in lines[1:]]
        kept = [line for line, n in zip(lines[1:], numbers, strict=True) if n.isdigit() and int(n) <= rounds]
        if required and len(kept) < rounds:
            raise UserError(
                f"{self.path}: has {len(kept)} of the {rounds} rounds that the checkpoint knows of; "
                "the file was changed, so the run cannot be continued exactly; start it anew"
            )
        write_atomically(self.path, b"".join(lines[:1] + kept))

    def rows(self) -> list[dict[str, Any]]:
        """All rows, none if the file is missing; an empty cell is None."""
        if not self.path.exists():
            return []
        with self.path.open(encoding="utf-8", newline="") as file:
            return [
                {name: cell if name in TEXTS else _number(cell) for name, cell in row.items()}
                for row in csv.DictReader(file)
            ]


def _cell(value: Any) -> str:
    """All digits of a number, nothing for None; no text here needs quotes."""
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(value)


def _number(cell: str) -> int | float | None:
    """The number that wrote this cell, to the last bit."""
    if cell == "":
        return None
    return int(cell) if cell.lstrip("-").isdigit() else float(cell)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """A table with all digits of its floats."""
    write_atomically(path, table.to_csv(index=False, lineterminator="\n"))


def describe_environment() -> dict[str, Any]:
    """Versions, devices and machine: what a reader needs to judge or repeat a run."""
    devices = jax.devices()
    return {
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "backend": devices[0].platform,
        "devices": [device.device_kind for device in devices],
    }


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(values, indent=2) + "\n")
