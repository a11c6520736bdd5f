"""The folder of a run: its files, written so that a killed run can go on as if it had never stopped.

config.yaml, environment.json, partition.npz, metrics.csv (a row a round, nothing of a clock on the wall),
timing.csv, clients.csv (a row a client of the last evaluation), checkpoints/, report.html; where they are
asked for clients_history.csv (a row a client of every evaluation), classes.csv (a row a class of the last
evaluation), best/ (the state of the best round); init.npz of a run that was given variables to start from;
ended.json of a run that came to its end before its last round.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fedtp_jax.config.yaml_files import read_yaml
from fedtp_jax.core.errors import UserError, in_one_line
from fedtp_jax.storage.csv_log import CsvLog
from fedtp_jax.storage.files import write_atomically, write_json
from fedtp_jax.storage.init_file import write_init
from fedtp_jax.storage.locks import HELD, lock, unlock

WINDOW = "window"  # and the clients' accuracies of the evaluations that its mean is of
ORDER = "order.json"  # in a sweep's folder
TRAINED = "trained"  # and the numbers of rounds in which each client trained
CLIENTS_HISTORY = "clients_history"  # a log that a run has if it is asked for
CLIENTS = "clients"  # what a checkpoint calls the table of the evaluation before it
# by a process that was killed before config.yaml, the last of the header, made a run of the folder
HEADER = "environment.json", "partition.npz", "init.npz"
LEFT_BEHIND = {*HEADER, HELD, *(f"{name}.part" for name in (*HEADER, "config.yaml", "seeds.json"))}


class RunFolder:
    """Paths and files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.environment = path / "environment.json"
        self.partition = path / "partition.npz"
        self.init = path / "init.npz"
        self.clients = path / "clients.csv"
        self.classes = path / "classes.csv"
        self.checkpoints = path / "checkpoints"
        self.best = path / "best"  # a checkpoint of the best round, where one is kept
        self.report = path / "report.html"
        self.ended = path / "ended.json"  # of a run that came to its end before its last round
        self.metrics = CsvLog(path / "metrics.csv")
        self.timing = CsvLog(path / "timing.csv")
        self.clients_history = CsvLog(path / "clients_history.csv")
        self._held: int | None = None

    def logs(self) -> dict[str, bytes]:
        """The logs as they are now."""
        logs = {"metrics": self.metrics.content(), "timing": self.timing.content()}
        return logs | ({CLIENTS_HISTORY: content} if (content := self.clients_history.content()) else {})

    def restore_logs(self, logs: Mapping[str, bytes]) -> None:
        """Make the logs what they were."""
        self.metrics.restore(logs["metrics"])
        self.timing.restore(logs["timing"])
        self.clients_history.restore(logs.get(CLIENTS_HISTORY, b""))

    def close_logs(self) -> None:
        """Write no more into them."""
        for log in (self.metrics, self.timing, self.clients_history):
            log.close()

    def restore_clients(self, table: str) -> None:
        """Make clients.csv what it was, none if it was empty."""
        if table:
            write_atomically(self.clients, table)
        else:
            self.clients.unlink(missing_ok=True)

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
            if (path / HELD).is_file():
                unlock(path, lock(path))  # raises while the process that begins the run has it
            raise UserError(
                f"{path}: is not the folder of a run (it has no config.yaml); give the folder itself"
            )
        return cls(path)

    def hold(self) -> None:
        """Keep the folder for this process until `release`; UserError if another one has it."""
        self._held = lock(self.path)

    def release(self) -> None:
        """Let others have the folder."""
        unlock(self.path, self._held)
        self._held = None

    @classmethod
    def fresh(cls, stem: str, root: Path = Path("runs")) -> Path:
        """runs/stem, or runs/stem-2, runs/stem-3 ... : the first that is free."""
        number = 1
        while (path := root / (stem if number == 1 else f"{stem}-{number}")).exists():
            number += 1
        return path


class Order(NamedTuple):
    """What a sweep's folder says of it: combinations and seeds as its file has them, by what it chooses."""

    combinations: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    select: str | None = None


def note_order(
    path: Path, names: Sequence[str], seeds: Sequence[int] = (), select: str | None = None
) -> None:
    """Say in which order the folders in a sweep's folder stand in its file, and what else it asks for."""
    noted = Order(tuple(names), tuple(seeds), select)
    if read_order(path) != noted or not (path / ORDER).exists():
        write_json(path / ORDER, noted._asdict())


def read_order(path: Path) -> Order:
    """What was noted in `path`; no combinations where nothing was."""
    try:
        noted = json.loads((path / ORDER).read_text("utf-8"))
        seeds, select = noted.get("seeds", []), noted.get("select")  # version 0.1.0 noted neither
        names = tuple(str(name) for name in noted["combinations"])
        return Order(names, tuple(int(seed) for seed in seeds), None if select is None else str(select))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return Order()


def in_order(path: Path, names: Sequence[str]) -> list[str]:
    """The names of folders in `path` as the sweep's file has them, others after them by name."""
    order = read_order(path).combinations
    return sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))


def read_inputs(run: RunFolder) -> dict[str, str]:
    """Names and identities of what the run read, as its folder says; nothing where it does not."""
    try:
        return dict(json.loads(run.environment.read_text("utf-8"))["inputs"])
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def read_devices(path: Path) -> int | Literal["auto"]:
    """How many devices the run in `path`, or the first of its seeds', was begun with; auto: none says it."""
    for folder in (path, *sorted(path.glob("seed-*"))):
        run = RunFolder(folder)
        try:
            devices = read_yaml(run.config, "training:")["engine"]["devices"]
            if devices == "auto":  # as version 0.1.0 left it
                devices = len(json.loads(run.environment.read_text("utf-8"))["devices"])
            return int(devices)
        except (OSError, ValueError, LookupError, TypeError, UserError):
            continue
    return "auto"


def ended_after(run: RunFolder) -> int | None:
    """The round with which a run came to its end, though more were planned; None where it has not."""
    try:
        return int(json.loads(run.ended.read_text("utf-8"))["round"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def noted_rounds(run: RunFolder) -> int | None:
    """How many rounds a run was last asked for, as its config.yaml says; None where it does not."""
    try:
        return int(read_yaml(run.config, "training:")["training"]["rounds"])
    except (OSError, ValueError, LookupError, TypeError, UserError):
        return None


class SeedsFolder:
    """The folder of the runs with several seeds: one run in each of its folders seed-0, seed-1, ..."""

    def __init__(self, path: Path) -> None:
        self.path, self._content = path, path / "seeds.json"

    def create(
        self, config: Mapping[str, Any], seeds: Sequence[int], init: Mapping[str, Any] | None = None
    ) -> None:
        """Make the folder, which must be free, and note what is run in it, and what it starts from."""

        def note(folder: RunFolder) -> None:
            write_init(folder.init, init)
            self.note(config, seeds)

        RunFolder.create(self.path, note).release()

    def note(self, config: Mapping[str, Any], seeds: Sequence[int]) -> None:
        """Say what is run in the folder, which may hold some of it already."""
        write_json(self._content, {"seeds": list(seeds), "config": dict(config)})

    def note_rounds(self, rounds: int) -> None:
        """Say of how many rounds the runs are now, where the folder says what they are."""
        if (noted := self.read()) and noted[0]["training"]["rounds"] != rounds:
            config, seeds = noted
            self.note({**config, "training": {**config["training"], "rounds": rounds}}, seeds)

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
