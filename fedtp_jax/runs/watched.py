"""A run as its folder shows it while another process may be at work on it. Nothing is written.

Files may be in the middle of being written: a row that is not whole yet is left for the next look.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fedtp_jax.config.metrics import headline_of
from fedtp_jax.config.yaml_files import read_yaml
from fedtp_jax.core.errors import UserError
from fedtp_jax.results.notes import participation_notes, untrained_note
from fedtp_jax.results.reached import evaluated_rounds
from fedtp_jax.storage.csv_log import csv_rows, numbers_table
from fedtp_jax.storage.locks import Holder, at_work, holder
from fedtp_jax.storage.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

# waiting: not begun; unknown: whether a process is at work on it cannot be seen from here
State = Literal["waiting", "running", "unknown", "stopped", "finished"]
RECENT = 20  # rounds at least that the time of a round is the mean of
NOTHING: dict[str, Any] = {"method": "", "data": "", "planned": 0, "seconds": math.nan}


@dataclasses.dataclass(frozen=True)
class Watched:
    """A run at one moment.

    Attributes:
      folder: of the run, which need not be there yet.
      state: see `State`.
      holder: the process that is at work on it, as far as is known.
      method, data: their names.
      planned: how many rounds it is asked for, 0 where nobody knows yet.
      seconds: of a round, its share of the evaluations included; NaN before the first.
      history: the rows of metrics.csv.
      written: when the last of them was, in seconds since 1970; NaN before the first.
    """

    folder: Path
    state: State
    holder: Holder | None
    method: str
    data: str
    planned: int
    seconds: float
    history: "pd.DataFrame"
    written: float

    @property
    def done(self) -> int:
        """Rounds."""
        return int(self.history["round"].iloc[-1]) if len(self.history) else 0

    @property
    def left(self) -> float:
        """Seconds until its last round if it goes on like this; NaN where nobody knows."""
        return max(self.planned - self.done, 0) * self.seconds

    @functools.cached_property
    def evaluated(self) -> "pd.DataFrame":
        """The rows of rounds that were evaluated."""
        return evaluated_rounds(self.history) if len(self.history) else self.history

    @property
    def headline(self) -> str:
        """What every evaluation measures."""
        return headline_of(self.history.columns)

    def last(self, column: str) -> float:
        """What the last evaluation has in a column of metrics.csv; NaN before the first, or without it."""
        known = len(self.evaluated) and column in self.evaluated
        return float(self.evaluated[column].iloc[-1]) if known else math.nan

    @property
    def notes(self) -> list[str]:
        """What its rounds have lost, and whom it never met, in words."""
        if not len(self.history):
            return []
        untrained = untrained_note(self.history) if len(self.evaluated) else ""
        return [*participation_notes(self.history), *([f"{untrained}."] if untrained else [])]


class Watcher:
    """Looks at runs again and again; files that have not changed since are not read again."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Any, dict[str, Any]]] = {}

    def look(self, folder: Path, above: bool | None = False) -> Watched:
        """The run in `folder`; `above`: whether a process is at work on what the run is part of.

        Raises UserError where the folder holds something else.
        """
        run = RunFolder(folder)
        held = at_work(folder)  # first: what a process writes last is seen once it is gone
        stamps = tuple(map(_stamp, (run.config, run.metrics.path, run.timing.path)))
        if folder not in self._known or self._known[folder][0] != stamps:
            self._known[folder] = stamps, _read(run)
        content = self._known[folder][1]
        written = stamps[1][0] / 1e9 if stamps[1] else math.nan
        found = Watched(folder, "running", holder(folder), **content, written=written)
        return dataclasses.replace(found, state=_state(run, found, held, above))


def _stamp(path: Path) -> tuple[int, ...]:
    """What is another once the file has changed; () without one."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _state(run: RunFolder, found: Watched, held: bool | None, above: bool | None) -> State:
    if held:
        return "running"
    if run.report.is_file() or run.ended.is_file() or found.done >= found.planned > 0:
        return "finished"
    if held is None and (found.holder or above is None):
        return "unknown"
    begun = found.done or (found.planned and above is False)
    return "stopped" if begun else "waiting"


def _read(run: RunFolder) -> dict[str, Any]:
    """What the files of a run say, by the names of `Watched`."""
    if not run.config.is_file():
        return NOTHING | {"history": numbers_table([])}
    config, rows = read_yaml(run.config, "training:"), rows_so_far(run.metrics.path)
    try:
        return {
            "method": str(config["method"]["name"]),
            "data": str(config["data"]["name"]),
            "planned": int(config["training"]["rounds"]),
            "seconds": _seconds(rows_so_far(run.timing.path), int(config["evaluation"]["every"])),
            "history": numbers_table(rows),
        }
    except (ValueError, LookupError, TypeError) as error:  # a foreign file lacks them
        raise UserError(f"{run.path}: cannot be read as a run ({error!r}); run it again") from None


def _seconds(timing: Sequence[dict[str, Any]], every: int) -> float:
    """Of a round: the mean over the last ones, with whole turns of evaluations among them."""
    recent = timing[-every * math.ceil(RECENT / every) :]
    spent = [row["train_seconds"] + row["evaluation_seconds"] for row in recent]
    return sum(spent) / len(spent) if spent else math.nan


def rows_so_far(path: Path) -> list[dict[str, Any]]:
    """The rows of a table that is being written, but for one at its end that is not whole yet.

    None where there is no file. Raises UserError where any other cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    *lines, torn = content.splitlines(keepends=True) or [b""]
    if torn.endswith(b"\n"):
        try:
            return csv_rows(content)
        except (ValueError, AttributeError, TypeError):  # some file systems show a length before its content
            pass
    try:
        return csv_rows(b"".join(lines))
    except (ValueError, AttributeError, TypeError):
        raise UserError(f"{path}: was changed, so it cannot be read; run it again") from None
