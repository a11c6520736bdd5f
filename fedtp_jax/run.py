"""One simulation from set-up to result: its folder, its rounds, its checkpoints."""

import dataclasses
import functools
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from fedtp_jax import hosts
from fedtp_jax.accounts import RoundResult
from fedtp_jax.checkpoint import Checkpoints, Saved
from fedtp_jax.config import Natural, SimulationConfig
from fedtp_jax.data import partition as partitions
from fedtp_jax.data.federated import Dataset
from fedtp_jax.folder import RunFolder, csv_rows, go_on_without, storage_error, write_csv
from fedtp_jax.methods.base import State
from fedtp_jax.metrics import Accuracy, Sums, summarize
from fedtp_jax.records import clients_table, history_row, report_run, timing_row
from fedtp_jax.result import Result
from fedtp_jax.rounds import Simulator
from fedtp_jax.saved import check_same_run, checkpoint_meta, read_meta, read_newest, write_header
from fedtp_jax.simulators import set_up
from fedtp_jax.waves import Prefetch


@dataclasses.dataclass(frozen=True)
class Progress:
    """What `on_round` and `on_evaluation` hear.

    Attributes:
      seed: of the simulation.
      round, rounds: rounds done, and of how many.
      result: of this round.
      accuracy: the newest evaluation of this call, None before the first.
      evaluated: whether that evaluation is of this round.
      seconds: this round's time without evaluation and checkpoint.
      row: this round's row of metrics.csv and of `Result.history`.
    """

    seed: int
    round: int
    rounds: int
    result: RoundResult
    accuracy: Accuracy | None
    evaluated: bool
    seconds: float
    row: Mapping[str, Any]


OnRound = Callable[[Progress], None]
OnEvaluation = Callable[[Progress], bool | None]


class Run:
    """One simulation: everything that is set up before the first round, and the loop.

    `beside`: a run of the same configuration and data but for the seed, with which to share programs.
    """

    def __init__(self, config: SimulationConfig, data: Dataset, beside: "Run | None" = None) -> None:
        self.config = config
        self.simulator: Simulator
        self.task, self.simulator = set_up(config, data, beside.simulator if beside else None)
        self.partition = self.simulator.partition
        self.names = data.group_names if isinstance(config.partition, Natural) else ()
        self.labels, self.classes = data.train.y, data.num_classes
        self.done = 0
        self.rows: list[dict[str, Any]] = []
        self.sums: Sums | None = None
        self.folder: RunFolder | None = None  # of the first process alone

    def open(self, out: Path | None, resume: bool) -> None:
        """Make the folder and the initial state, or take up those of a stopped run."""
        if out is not None and resume:
            self.folder = hosts.on_first(functools.partial(self._take_up, out))
            try:
                self.state = self._restore()
            except BaseException:
                self._release()
                raise
        else:
            self.simulator.compile()
            if out is not None:
                self.folder = hosts.on_first(functools.partial(self._create, out))
            self.state = self.simulator.init(self._rows_folder)
        self.checkpoints = (
            Checkpoints(self.folder.checkpoints, self.config.checkpoint.keep) if self.folder else None
        )

    def _create(self, out: Path) -> RunFolder:
        return RunFolder.create(out, lambda folder: write_header(folder, self.config, self.partition))

    def _take_up(self, out: Path) -> RunFolder:
        folder = RunFolder.open(out)
        folder.hold()
        return folder

    def _release(self) -> None:
        if self.folder:
            self.folder.release()

    @property
    def _rows_folder(self) -> Path | None:
        """Where rows on disk lie: other processes may not have the first one's folder."""
        return self.folder.path if self.folder else None

    def _restore(self) -> State:
        """The state of a stopped run, which the first process reads."""
        self.done, saved = hosts.from_first(self._read)
        if saved is None:
            return self.simulator.init(self._rows_folder)
        self.rows = csv_rows(saved.logs["metrics"])
        population = self.simulator.initial.population(self.config.engine.rows, self._rows_folder)
        return self.simulator.place(saved.state(population))

    def _read(self) -> tuple[int, Saved | None]:
        """(rounds done, the newest checkpoint), after checking that it is of this very run."""
        folder = self.folder
        assert folder
        checkpoints = Checkpoints(folder.checkpoints, self.config.checkpoint.keep)
        try:
            done, saved = 0, None
            if checkpoints.steps():
                check_same_run(read_meta(checkpoints, folder.path), self.config, self.task, folder.path)
                done, saved = read_newest(checkpoints, self.simulator.initial, folder.path)
            else:
                warnings.warn(
                    f"{folder.path}: holds no checkpoint, so it starts again at round 1", stacklevel=6
                )
            # last, and each from what the checkpoint says: what refuses to resume must change nothing
            folder.restore_logs(saved.logs if saved else {"metrics": b"", "timing": b""})
            go_on_without(folder.partition, functools.partial(self._save_partition, folder.partition))
            checkpoints.forget_after(done)
        except OSError as error:
            raise storage_error(error, error.filename or folder.path, folder.path) from None
        finally:
            checkpoints.close()
        return done, saved

    def _save_partition(self, path: Path) -> None:
        before = path.read_bytes() if path.is_file() else b""
        partitions.save(self.partition, path)
        if path.read_bytes() != before:
            warnings.warn(f"{path}: was changed or lost; it is written anew", stacklevel=2)

    # ------------------------------------------------------------------------------------------ loop

    def loop(self, on_round: OnRound | None = None, on_evaluation: OnEvaluation | None = None) -> Result:
        rounds, accuracy = self.config.training.rounds, None
        prefetch = Prefetch(map(self.simulator.prepare, range(self.done, rounds)))
        try:
            for round in range(self.done, rounds):
                begin = time.perf_counter()
                self.state, result = self.simulator.round(self.state, round, prefetch.take())
                seconds = time.perf_counter() - begin
                due = self._due(round + 1, self.config.evaluation.every)
                if due:
                    self.sums = self.simulator.evaluate(self.state)
                    accuracy = summarize(self.sums, self.simulator.evaluated)
                self._record(round + 1, result, accuracy if due else None)
                evaluation = time.perf_counter() - begin - seconds
                self._log_time(round + 1, result, seconds, evaluation)
                if self._due(round + 1, self.config.checkpoint.every):
                    self._save(round + 1)
                progress = Progress(
                    self.config.seed, round + 1, rounds, result, accuracy, due, seconds, self.rows[-1]
                )
                if self._tell(progress, on_round, on_evaluation):
                    self._save(round + 1)
                    break
            return self._finish()
        finally:
            prefetch.close()
            if self.folder:
                self.folder.metrics.close()
                self.folder.timing.close()
            if self.checkpoints:
                self.checkpoints.close()
            self._release()

    def _tell(self, progress: Progress, on_round: OnRound | None, on_evaluation: OnEvaluation | None) -> bool:
        """Whether somebody asks to end the run with this round."""

        asks = on_evaluation if progress.evaluated else None

        def tell() -> bool:
            enough = bool(asks and asks(progress))
            if on_round:
                on_round(progress)
            return enough

        try:
            enough = hosts.together(tell)
            return bool(asks and hosts.gather(np.bool_(enough)).any())
        except KeyboardInterrupt:
            self._save(progress.round)
            raise

    def _due(self, round: int, every: int) -> bool:
        return round % every == 0 or round == self.config.training.rounds

    def _record(self, round: int, result: RoundResult, accuracy: Accuracy | None) -> None:
        """Add this round's row to the history and to metrics.csv: nothing in it depends on the clock."""
        row = history_row(round, result, accuracy)
        self.rows.append(row)
        if self.folder:
            try:
                self.folder.metrics.append(row)
            except OSError as error:
                raise storage_error(error, self.folder.metrics.path, self.folder.path) from None
            if accuracy:
                self._write_clients(self.folder)

    def _log_time(self, round: int, result: RoundResult, train: float, evaluation: float) -> None:
        if self.folder:
            timing, row = self.folder.timing, timing_row(round, result, train, evaluation)
            go_on_without(timing.path, lambda: timing.append(row))

    def _save(self, round: int) -> None:
        """Make a checkpoint, if there is a folder and none of this round."""
        if not self.folder or not self.checkpoints or round in self.checkpoints.steps():
            return
        meta = checkpoint_meta(self.config, self.task)
        self.checkpoints.save(round, self.state, self.folder.logs(), meta)

    def _clients(self) -> pd.DataFrame:
        assert self.sums is not None
        return clients_table(self.sums, self.partition, self.rows, self.names)

    def _write_clients(self, folder: RunFolder) -> None:
        go_on_without(folder.clients, lambda: write_csv(folder.clients, self._clients()))

    def _finish(self) -> Result:
        if self.sums is None:  # resumed after the last round
            self.sums = self.simulator.evaluate(self.state)
            if self.folder:
                self._write_clients(self.folder)
        programs = self.simulator.programs
        result = Result(
            config=self.config,
            history=pd.DataFrame(self.rows),
            clients=self._clients(),
            state=jax.device_get(self.state._replace(rows={}))._replace(rows=self.state.rows),
            partition=self.partition,
            task=self.task,
            compiled={"programs": programs.count, "seconds": programs.seconds},
        )
        if self.folder:
            folder, counts = self.folder, self.partition.train.class_counts(self.labels, self.classes)
            go_on_without(folder.report, lambda: report_run(folder, result, counts))
        return result
