"""simulate(config) -> Result: data, partition, method, then the loop over rounds."""

import dataclasses
import functools
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pandas as pd

from fedtp_jax import engine, hosts, settings
from fedtp_jax.checkpoint import Checkpoints, Saved
from fedtp_jax.config import Arrays, Natural, SimulationConfig
from fedtp_jax.data import partition as partitions
from fedtp_jax.data.federated import Dataset
from fedtp_jax.data.sources import load
from fedtp_jax.errors import UserError
from fedtp_jax.folder import RunFolder, write_csv
from fedtp_jax.methods.base import State
from fedtp_jax.metrics import Accuracy, Sums, summarize
from fedtp_jax.records import clients_table, history_row, report_run, timing_row
from fedtp_jax.result import (
    Result,
    checkpoint_meta,
    machine,
    read_meta,
    read_newest,
    task_of,
    write_header,
)
from fedtp_jax.rounds import RoundResult, Simulator
from fedtp_jax.task import TaskShape
from fedtp_jax.waves import Prefetch


@dataclasses.dataclass(frozen=True)
class Progress:
    """What `on_round` hears after every round.

    Attributes:
      round, rounds: rounds done, and of how many.
      result: of this round.
      accuracy: the newest evaluation of this call, None before the first.
      evaluated: whether that evaluation is of this round.
      seconds: this round's time without evaluation and checkpoint.
    """

    round: int
    rounds: int
    result: RoundResult
    accuracy: Accuracy | None
    evaluated: bool
    seconds: float


def simulate(
    config: SimulationConfig | str | Path | None = None,
    *,
    data: Dataset | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    on_round: Callable[[Progress], None] | None = None,
) -> Result:
    """Run a simulation.

    After `jax.distributed.initialize()` every process must call it with the same arguments: they run it
    together and get the same result, the first writes the folder. What one of them raises, all raise.

    Args:
      config: a configuration, or the path of a YAML file; default: FedTP on digits.
      data: your own examples from `from_arrays`, in place of the configuration's data section.
      out: folder for metrics, checkpoints and report; must not exist or be empty. None: nothing is written.
      resume: `out` holds a run of the same configuration that was stopped; go on from its newest checkpoint.
      on_round: called with a Progress after every round; raising KeyboardInterrupt there saves a checkpoint
        first, so that the run goes on from this very round when it is resumed.

    Raises:
      UserError: for a mistake in the configuration, the data or the folder, before anything is written.
      FloatingPointError: when all clients of a round return numbers that are not finite.
    """
    if config is None:
        config = SimulationConfig()
    elif isinstance(config, str | Path):
        config = hosts.together(functools.partial(settings.load_config, config))
    elif not isinstance(config, SimulationConfig):
        raise UserError(
            f"config: got a {type(config).__name__}, expected a SimulationConfig or a file's path"
        )
    config = settings.checked(config)
    hosts.check_same("config", config)
    if resume and out is None:
        raise UserError("resume: needs the folder of the run to go on with; give out=...")
    if out is not None and not resume:
        hosts.on_first(functools.partial(RunFolder.check_free, Path(out)))
    if data is None:
        data = hosts.together(functools.partial(load, config.data))
    elif not isinstance(data, Dataset):
        raise UserError(
            f"data: got a {type(data).__name__}, expected what fedtp_jax.from_arrays(x, y) returns"
        )
    else:
        config = dataclasses.replace(config, data=Arrays())
    return _Run(config, data, None if out is None else Path(out), resume).loop(on_round)


class _Run:
    """One call of `simulate`: everything that is set up before the first round."""

    def __init__(self, config: SimulationConfig, data: Dataset, out: Path | None, resume: bool) -> None:
        mesh = engine.open_mesh(config.engine.devices)
        self.config = config
        self.partition = hosts.together(
            lambda: partitions.make_partition(config.partition, data, config.seed)
        )
        self.task = TaskShape.of(data, self.partition)
        hosts.check_same("data", self.task)
        task, self.method = self.task.build(config)
        self.simulator = Simulator(config, task, self.method, data, self.partition, mesh)
        self.names = data.group_names if isinstance(config.partition, Natural) else ()
        self.counts = self.partition.train.class_counts(data.train.y, data.num_classes)
        self.done = 0
        self.rows: list[dict[str, Any]] = []
        self.sums: Sums | None = None
        self.folder: RunFolder | None = None  # of the first process alone
        if out is not None and resume:
            self.folder = hosts.on_first(functools.partial(RunFolder.open, out))
            self.state = self._restore()
        else:
            self.simulator.compile()
            if out is not None:
                self.folder = hosts.on_first(functools.partial(self._create, out))
            self.state = self.simulator.init(self._rows_folder)
        self.checkpoints = (
            Checkpoints(self.folder.checkpoints, config.checkpoint.keep) if self.folder else None
        )

    def _create(self, out: Path) -> RunFolder:
        folder = RunFolder.create(out)
        write_header(folder, self.config, self.partition)
        return folder

    @property
    def _rows_folder(self) -> Path | None:
        """Where rows on disk lie: other processes may not have the first one's folder."""
        return self.folder.path if self.folder else None

    def _restore(self) -> State:
        """The state of a stopped run, which the first process reads."""
        self.done, self.rows, saved = hosts.from_first(self._read)
        if saved is None:
            return self.simulator.init(self._rows_folder)
        population = self.simulator.initial.population(self.config.engine.rows, self._rows_folder)
        return self.simulator.place(saved.state(population))

    def _read(self) -> tuple[int, list[dict[str, Any]], Saved | None]:
        """(rounds done, their history, the newest checkpoint), after checking that it is this very run."""
        folder = self.folder
        assert folder
        checkpoints = Checkpoints(folder.checkpoints, self.config.checkpoint.keep)
        try:
            if not checkpoints.steps():
                warnings.warn(
                    f"{folder.path}: holds no checkpoint, so it starts again at round 1", stacklevel=6
                )
                folder.metrics.keep_rounds(0)
                folder.timing.keep_rounds(0)
                partitions.save(self.partition, folder.partition)
                return 0, [], None
            meta = read_meta(checkpoints, folder.path)
            there = settings.differences(settings.from_dict(meta["config"]), self.config)
            if there:
                raise UserError(
                    f"{folder.path}: was run with another configuration ({'; '.join(there)}); "
                    "resume it with the one it was started with, or start a new run"
                )
            task = task_of(meta)
            for field in dataclasses.fields(task):
                here, saved = getattr(self.task, field.name), getattr(task, field.name)
                if here != saved:
                    raise UserError(
                        f"{folder.path}: was run on another {field.name} ({saved} there, {here} here); "
                        "resume on the same data, or start a new run"
                    )
            changed = [
                f"{name} {meta['machine'].get(name)} there, {value} here"
                for name, value in machine().items()
                if meta["machine"].get(name) != value
            ]
            if changed:
                warnings.warn(
                    f"resumed on another machine ({'; '.join(changed)}): "
                    "the result may differ in the last digits from a run that was never stopped",
                    stacklevel=6,
                )
            done, saved = read_newest(checkpoints, self.simulator.initial, folder.path)
            folder.metrics.keep_rounds(done)
            folder.timing.keep_rounds(done, required=False)
            checkpoints.forget_after(done)  # last: what refuses to resume must change nothing
        finally:
            checkpoints.close()
        return done, folder.metrics.rows(), saved

    # ------------------------------------------------------------------------------------------ loop

    def loop(self, on_round: Callable[[Progress], None] | None) -> Result:
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
                    accuracy = summarize(self.sums, self.simulator.takes_part)
                self._record(round + 1, result, accuracy if due else None)
                evaluation = time.perf_counter() - begin - seconds
                self._log_time(round + 1, result, seconds, evaluation)
                if self.checkpoints and self._due(round + 1, self.config.checkpoint.every):
                    self._save(round + 1)
                self._tell(on_round, Progress(round + 1, rounds, result, accuracy, due, seconds))
            return self._finish()
        finally:
            prefetch.close()
            if self.folder:
                self.folder.metrics.close()
                self.folder.timing.close()
            if self.checkpoints:
                self.checkpoints.close()

    def _tell(self, on_round: Callable[[Progress], None] | None, progress: Progress) -> None:
        try:
            hosts.together(lambda: on_round(progress) if on_round else None)
        except KeyboardInterrupt:
            if self.checkpoints and progress.round not in self.checkpoints.steps():
                self._save(progress.round)
            raise

    def _due(self, round: int, every: int) -> bool:
        return round % every == 0 or round == self.config.training.rounds

    def _record(self, round: int, result: RoundResult, accuracy: Accuracy | None) -> None:
        """Add this round's row to the history and to metrics.csv: nothing in it depends on the clock."""
        row = history_row(round, result, accuracy)
        self.rows.append(row)
        if self.folder:
            self.folder.metrics.append(row)
            if accuracy:
                write_csv(self.folder.clients, self._clients())

    def _log_time(self, round: int, result: RoundResult, train: float, evaluation: float) -> None:
        if self.folder:
            self.folder.timing.append(timing_row(round, result, train, evaluation))

    def _save(self, round: int) -> None:
        assert self.folder and self.checkpoints
        self.folder.metrics.sync()
        self.checkpoints.save(round, self.state, checkpoint_meta(self.config, self.task))

    def _clients(self) -> pd.DataFrame:
        assert self.sums is not None
        return clients_table(self.sums, self.partition, self.names)

    def _finish(self) -> Result:
        if self.sums is None:  # resumed after the last round
            self.sums = self.simulator.evaluate(self.state)
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
            report_run(self.folder, result, self.counts)
        return result
