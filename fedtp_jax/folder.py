"""The folder of a run: its files, written so that a killed run can go on as if it had never stopped.

config.yaml, environment.json, partition.npz, metrics.csv (a row a round, nothing that depends on the clock),
timing.csv, clients.csv (a row a client of the last evaluation), checkpoints/, report.html.
"""

import contextlib
import csv
import fcntl
import io
import json
import os
import platform
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import jax
import pandas as pd

from fedtp_jax.errors import StorageError, UserError, in_one_line

TEXTS = ("name", "excluded_clients")  # columns that are not numbers
# by a process that was killed before config.yaml, the last of the header, made a run of the folder
LEFT_BEHIND = {"environment.json", "partition.npz"} | {
    f"{name}.part" for name in ("environment.json", "partition.npz", "config.yaml", "seeds.json")
}
PACKAGES = ("fedtp_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pandas")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside and rename: a reader, or a killed process, sees the old file or the new one, no half."""
    scratch = path.with_name(path.name + ".part")
    try:
        scratch.write_bytes(content.encode() if isinstance(content, str) else content)
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def storage_error(error: OSError, path: Path, folder: Path) -> StorageError:
    """What ends a run in `folder` when `path` cannot be written."""
    return StorageError(
        f"{path}: cannot be written ({error.strerror}); mend that, then go on with: fedtp resume {folder}"
    )


def go_on_without(path: Path, write: Callable[[], None]) -> None:
    """Write a file that a run can do without; where that fails a warning says so."""
    try:
        write()
    except OSError as error:
        warnings.warn(
            f"{path}: cannot be written ({error.strerror}); the run goes on without it", stacklevel=3
        )


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
        self._held: int | None = None

    def logs(self) -> dict[str, bytes]:
        """The two logs as they are now."""
        return {"metrics": self.metrics.content(), "timing": self.timing.content()}

    def restore_logs(self, logs: Mapping[str, bytes]) -> None:
        """Make the two logs what they were."""
        self.metrics.restore(logs["metrics"])
        self.timing.restore(logs["timing"])

    @classmethod
    def create(cls, path: Path, write_header: Callable[["RunFolder"], None]) -> "RunFolder":
        """A new folder, held by this process, or none at all; an existing one must be empty.

        `write_header` writes the first files in it.
        """
        cls.check_free(path)
        found, folder = path.exists(), cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            folder.hold()
            cls.check_free(path)  # another process may have been quicker
            write_header(folder)
        except OSError as error:
            if folder._held is not None:
                folder.release()
                for file in path.iterdir():
                    file.unlink()
                if not found:
                    path.rmdir()
            raise UserError(
                f"{path}: cannot be written ({error.strerror}); free space, or choose another folder"
            ) from None
        except BaseException:
            folder.release()
            raise
        return folder

    @staticmethod
    def check_free(path: Path) -> None:
        """Raise UserError unless `path` can become a new run's folder."""
        try:
            path.lstat()
            found = {file.name for file in path.iterdir()} if path.is_dir() else {""}
            taken = bool(found - LEFT_BEHIND) or found == {"partition.npz"}
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: cannot be created ({in_one_line(error)}); choose another folder"
            ) from None
        if taken:
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

        The lock is on the folder itself and ends with the process, however it ends.
        """
        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(folder)
            raise UserError(
                f"{self.path}: another process is at work on this run; wait for its end, or stop it"
            ) from None
        except OSError:
            pass  # a file system without locks
        self._held = folder

    def release(self) -> None:
        """Let others have the folder."""
        if self._held is not None:
            os.close(self._held)
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
        RunFolder.create(self.path, lambda folder: self.note(config, seeds)).release()

    def note(self, config: Mapping[str, Any], seeds: Sequence[int]) -> None:
        """Say what is run in the folder, which may hold some of it already."""
        write_json(self._content, {"seeds": list(seeds), "config": dict(config)})

    def run(self, seed: int) -> Path:
        """The folder of one run."""
        return self.path / f"seed-{seed}"

    def begun(self, seed: int) -> bool:
        """Whether there is a run to go on with."""
        return (self.run(seed) / "config.yaml").exists()

    def read(self) -> tuple[dict[str, Any], list[int]] | None:
        """(configuration, seeds), or None if it is not such a folder."""
        if not self._content.is_file():
            return None
        try:
            content = json.loads(self._content.read_text("utf-8"))
            return dict(content["config"]), list(content["seeds"])
        except (OSError, ValueError, LookupError, TypeError):
            raise UserError(
                f"{self._content}: is damaged, so the runs cannot be continued; start anew"
            ) from None


class CsvLog:
    """A CSV file to which a row is appended at a time. Floats are written with all their digits."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIOWrapper | None = None

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row, the first one after the header, and hand it to the operating system; whole or not."""
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            if self._file is None:
                self._file = self.path.open("a", encoding="utf-8", newline="")
            if not size:
                self._file.write(",".join(row) + "\n")
            self._file.write(",".join(_cell(value) for value in row.values()) + "\n")
            self._file.flush()
        except OSError:
            self.close()
            with contextlib.suppress(OSError):
                os.truncate(self.path, size)
            raise

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # of a row that did not fit, and was told of
                self._file.close()
            self._file = None

    def content(self) -> bytes:
        """The file as it is, empty if there is none."""
        return self.path.read_bytes() if self.path.is_file() else b""

    def restore(self, content: bytes) -> None:
        """Make the file what it was; rows that came later are dropped, a run does their work again."""
        found = self.content()
        if not found.startswith(content):
            warnings.warn(
                f"{self.path}: was changed or lost; it is written anew from the checkpoint", stacklevel=2
            )
        if found != content:
            write_atomically(self.path, content)


def csv_rows(content: bytes) -> list[dict[str, Any]]:
    """The rows of a file that CsvLog or `write_csv` wrote; an empty cell is None."""
    return [
        {name: cell if name in TEXTS else _number(cell) for name, cell in row.items()}
        for row in csv.DictReader(io.StringIO(content.decode(), newline=""))
    ]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of such a file, none if it is missing; UserError if somebody else has changed it."""
    try:
        return csv_rows(path.read_bytes()) if path.exists() else []
    except (OSError, ValueError, AttributeError, csv.Error) as error:  # a row may lack cells
        raise UserError(
            f"{path}: was changed, so it cannot be read ({in_one_line(error)}); run it again"
        ) from None


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
