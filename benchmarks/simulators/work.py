"""What every simulator is given to train, as a folder of arrays, and what it answers. NumPy alone.

Axes: N clients, R rounds, K clients of a cohort, M examples, H W C image.
"""

import json
import sys
import time
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

HEAD = "mlp_head.1."  # how the names of FedPer's personal parameters begin
TRAIN, TEST = "train", "test"


class Work:
    """The folder that benchmarks/simulators/make_work.py wrote.

    Attributes:
      method: fedavg, or fedper, where the head stays with the client.
      processes: how many there shall be: as many as cores.
      cohorts: ids [R, K], who trains in each round.
      parameters: {name as in benchmarks/torch_models.py: initial value}.
      shape, classes: of an image, and how many.
      model: settings of the ViT.
      learning_rate, momentum, batch_size, epochs: of the clients' SGD.
    """

    def __init__(self, folder: Path, method: str, processes: int) -> None:
        self.folder, self.method, self.processes = folder, method, processes
        settings = json.loads((folder / "settings.json").read_text())
        self.model: Any = SimpleNamespace(**settings["model"])
        self.shape: tuple[int, ...] = tuple(settings["shape"])
        self.classes: int = settings["classes"]
        self.learning_rate: float = settings["learning_rate"]
        self.momentum: float = settings["momentum"]
        self.batch_size: int = settings["batch_size"]
        self.epochs: int = settings["epochs"]
        self.cohorts: np.ndarray = np.load(folder / "cohorts.npy")
        with np.load(folder / "parameters.npz") as parameters:
            self.parameters = dict(parameters)
        self._parts = {part: _Part.open(folder, part) for part in (TRAIN, TEST)}

    @property
    def clients(self) -> int:
        """N."""
        return len(self._parts[TRAIN].offsets) - 1

    @property
    def sizes(self) -> np.ndarray:
        """[N], train examples of each client."""
        return np.diff(self._parts[TRAIN].offsets)

    @property
    def test_examples(self) -> int:
        """Of all clients."""
        return len(self._parts[TEST].y)

    @property
    def personal(self) -> list[str]:
        """Names of the parameters that stay with the client."""
        return [name for name in self.parameters if self.method == "fedper" and name.startswith(HEAD)]

    def shard(self, client: int, part: str = TRAIN) -> tuple[np.ndarray, np.ndarray]:
        """(normalised images [M, H, W, C] float32, labels [M] int64) of a client; not to be written to."""
        return self._parts[part].shard(client)


class _Part(NamedTuple):
    """Examples in the order of their clients; mapped, so that processes share the pages."""

    x: np.ndarray
    y: np.ndarray
    offsets: np.ndarray  # [N + 1]

    @classmethod
    def open(cls, folder: Path, part: str) -> "_Part":
        x, y = (np.load(folder / f"{part}_{name}.npy", mmap_mode="c") for name in "xy")
        return cls(x, y, np.load(folder / f"{part}_offsets.npy"))

    def shard(self, client: int) -> tuple[np.ndarray, np.ndarray]:
        mine = slice(*self.offsets[client : client + 2])
        return self.x[mine], self.y[mine]


class Laps:
    """Seconds of each round: from one call of `lap` to the next, the first from the beginning."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last = time.perf_counter()

    def lap(self) -> None:
        """A round is done."""
        now = time.perf_counter()
        self.seconds.append(now - self._last)
        self._last = now


def from_command_line() -> tuple[Work, Path]:
    """(work, file for the answer) of `python -m benchmarks.simulators.NAME WORK ANSWER METHOD PROCESSES`."""
    folder, answer, method, processes = sys.argv[1:5]
    return Work(Path(folder), method, int(processes)), Path(answer)


def answer(
    file: Path, package: str, setting: str, seconds: list[float], accuracy: float, **more: object
) -> None:
    """Write what was measured.

    Args:
      file: which to write.
      package: whose version is told.
      setting: processes, threads and the like, in words.
      seconds: [R], of each round.
      accuracy: pooled over all clients' test examples, after the last round.
      more: anything else that should be kept.
    """
    content: dict[str, Any] = {
        "version": metadata.version(package),
        "setting": setting,
        "seconds": seconds,
        "accuracy": accuracy,
        **more,
    }
    file.write_text(json.dumps(content))
