"""A run's folder while the run is at work: what is appended round by round, and taken up after a stop."""

import contextlib
import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fedtp_jax.config import SimulationConfig
from fedtp_jax.config.plain import to_yaml
from fedtp_jax.learning.method import State
from fedtp_jax.partitions.files import save_partition
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.simulation.initial_state import InitialState
from fedtp_jax.storage.checkpoints import Checkpoints, Saved
from fedtp_jax.storage.csv_log import csv_lines, csv_text, write_csv
from fedtp_jax.storage.files import go_on_without, storage_error, write_atomically, write_json
from fedtp_jax.storage.init_file import write_init
from fedtp_jax.storage.more_rounds import last_common_round
from fedtp_jax.storage.run_folder import CLIENTS, WINDOW, RunFolder, ended_after, noted_rounds
from fedtp_jax.storage.run_identity import checkpoint_meta, read_meta, read_newest, spec_of, write_header
from fedtp_jax.storage.same_run import check_same_run

if TYPE_CHECKING:
    import pandas as pd

Best = tuple[int, Saved]  # the best round, and what there was after it


class TakenUp(NamedTuple):
    """Of a stopped run: rounds done, the newest checkpoint, the best round, whether it ended there."""

    done: int = 0
    saved: Saved | None = None
    best: Best | None = None
    ended: bool = False


class RunStore:
    """Held by this process until `close`; of several processes the first alone has it.

    What a run cannot do without (metrics.csv, and clients_history.csv if it is asked for) raises StorageError
    where it cannot be written; of anything else a warning says so, the run goes on, and `missing` names it in
    the end.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: SimulationConfig,
        spec: DataSpec,
        partition: Partition,
        init: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self._config, self._spec, self._partition = folder, config, spec, partition
        self._init = init
        # open while there may be something to save
        self._checkpoints: Checkpoints | None = None
        self._best: Checkpoints | None = None
        self._best_round: int | None = None
        self._clients = ""  # clients.csv, whether or not it could be written
        self._late: list[Mapping[str, Any]] = []  # rows that timing.csv still lacks
        self._failed: dict[Path, None] = {}  # a set in order

    @classmethod
    def create(cls, out: Path, *parts: Any) -> "RunStore":
        """That of a new run, of the parts that `RunStore` takes after the folder."""
        store = cls(RunFolder.create(out, lambda folder: write_header(folder, *parts)), *parts)
        try:
            store._open()
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def take_up(cls, out: Path, *parts: Any) -> "RunStore":
        """That of a run that was stopped, of the same parts."""
        folder = RunFolder.open(out)
        folder.hold()
        return cls(folder, *parts)

    def read(self, initial: InitialState, further: bool) -> TakenUp:
        """What there is of the run; files are made what they were.

        `further`: a run that was asked to end before its last round goes on all the same.

        Raises UserError for a run of another configuration or data, or that cannot go on with as many
        rounds as it is asked for now, StorageError where files cannot be written.
        """
        folder = self.folder
        checkpoints = self._open_checkpoints()
        try:
            done, saved = 0, None
            if checkpoints.steps():
                meta = read_meta(checkpoints, folder.path)
                check_same_run(meta, spec_of(meta), self._config, self._spec, folder.path)
                until = last_common_round(meta, checkpoints.steps(), self._config, folder)
                done, saved = read_newest(checkpoints, initial, folder.path, until)
            else:
                warnings.warn(
                    f"{folder.path}: holds no checkpoint, so it starts again at round 1", stacklevel=6
                )
            # last, and each from what the checkpoint says: what refuses to resume must change nothing
            logs = saved.logs if saved else {"metrics": b"", "timing": b"", CLIENTS: b""}
            folder.restore_logs(logs)
            if CLIENTS in logs:  # version 0.1.0 did not keep it
                self._clients = logs[CLIENTS].decode()
                self._try(folder.clients, lambda: folder.restore_clients(self._clients))
            self._try(folder.partition, functools.partial(self._restore_partition, folder.partition))
            if self._init is not None:
                self._try(folder.init, functools.partial(write_init, folder.init, self._init))
            if noted_rounds(folder) != self._config.training.rounds:
                write_atomically(folder.config, to_yaml(self._config))
            checkpoints.forget_after(done)
            best = self._read_best(initial, done)
        except OSError as error:
            raise storage_error(error, error.filename or folder.path, folder.path) from None
        finally:
            checkpoints.close()
        self._open()
        ended = ended_after(folder) == done and not further
        if not ended:
            folder.ended.unlink(missing_ok=True)
            if done < self._config.training.rounds:  # who finds a report takes the run for finished
                with contextlib.suppress(OSError):
                    folder.report.unlink()
        return TakenUp(done, saved, best, ended)

    def _read_best(self, initial: InitialState, done: int) -> Best | None:
        """The best round until `done`; one that comes after it will come again."""
        if self._config.checkpoint.best is None:
            return None
        kept = Checkpoints(self.folder.best, keep=1)
        try:
            kept.forget_after(done)
            return kept.newest(initial)
        finally:
            kept.close()

    def _restore_partition(self, path: Path) -> None:
        before = path.read_bytes() if path.is_file() else b""
        save_partition(self._partition, path)
        if path.read_bytes() != before:
            warnings.warn(f"{path}: was changed or lost; it is written anew", stacklevel=2)

    def _open(self) -> None:
        """Have the checkpoints ready to be written."""
        self._checkpoints = self._open_checkpoints()
        if self._config.checkpoint.best is not None:
            self._best = Checkpoints(self.folder.best, keep=1)

    def _open_checkpoints(self) -> Checkpoints:
        return Checkpoints(self.folder.checkpoints, self._config.checkpoint.keep)

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Add a row to metrics.csv."""
        try:
            self.folder.metrics.append(row)
        except OSError as error:
            raise storage_error(error, self.folder.metrics.path, self.folder.path) from None

    def append_clients(self, table: "pd.DataFrame") -> None:
        """Add an evaluation's rows to clients_history.csv."""
        log = self.folder.clients_history
        try:
            log.append_table(table)
        except OSError as error:
            raise storage_error(error, log.path, self.folder.path) from None

    def append_timing(self, row: Mapping[str, Any]) -> None:
        """Add a row to timing.csv, or keep it until there is space."""
        self._late.append(row)
        self._try(self.folder.timing.path, self._append_late)

    def _append_late(self) -> None:
        while self._late:
            self.folder.timing.append(self._late[0])
            self._late.pop(0)

    def _try(self, path: Path, write: Callable[[], None]) -> None:
        """Write what the run can do without; the last try counts."""
        self._failed.pop(path, None)
        if not go_on_without(path, write):
            self._failed[path] = None

    def write_clients(self, table: "pd.DataFrame") -> None:
        """Write clients.csv."""
        self._clients = csv_text(table)
        self._try(self.folder.clients, lambda: write_atomically(self.folder.clients, self._clients))

    def write_classes(self, table: "pd.DataFrame") -> None:
        """Write classes.csv."""
        self._try(self.folder.classes, lambda: write_csv(self.folder.classes, table))

    def write_report(self, write: Callable[[Path], None]) -> None:
        """Let `write` write report.html."""
        self._try(self.folder.report, lambda: write(self.folder.report))

    def save(self, round: int, state: State, window: Sequence[np.ndarray], best: Best | None = None) -> None:
        """Make a checkpoint, if there is none of this round; `window`: clients' accuracies until then.

        `best` comes first, and is on disk before: the round of a checkpoint never lacks what was best until
        then, unless it can be made again.
        """
        if self._best and best and best[0] not in self._best.steps():
            self._best.save(*best, checkpoint_meta(self._config, self._spec))
            self._best.settle()
        self._best_round = best[0] if best else None
        if self._checkpoints and round not in self._checkpoints.steps():
            meta = checkpoint_meta(self._config, self._spec)
            before = np.concatenate([np.zeros(0), *window]).astype("<f8").tobytes()
            logs = {**self.folder.logs(), CLIENTS: self._clients.encode(), WINDOW: before}
            if self._late:
                logs["timing"] += csv_lines(self._late, header=not logs["timing"]).encode()
            self._checkpoints.save(round, Saved.of(state, logs), meta)

    def end(self, round: int) -> None:
        """Note that the run came to its end with this round, which is saved."""
        self._try(self.folder.ended, lambda: write_json(self.folder.ended, {"round": round}))

    def missing(self, round: int) -> tuple[str, ...]:
        """Names of files in the folder that should be there after the last `round`, and are not."""
        if self._late:
            self._try(self.folder.timing.path, self._append_late)
        names = [path.name for path in self._failed]
        if self._checkpoints:
            self._checkpoints.settle()
            if round not in self._checkpoints.steps():
                names.append(f"{self.folder.checkpoints.name}/{round}")
        if self._best and self._best_round not in (None, *self._best.steps()):
            names.append(f"{self.folder.best.name}/{self._best_round}")
        return tuple(names)

    def close(self) -> None:
        """Wait for what is being written, and let others have the folder."""
        self.folder.close_logs()
        for checkpoints in filter(None, (self._checkpoints, self._best)):
            checkpoints.close()
        self.folder.release()
