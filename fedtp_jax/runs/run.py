"""One simulation from set-up to result: its rounds, its evaluations, what is told of them."""

import contextlib
import dataclasses
import functools
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedtp_jax.config import SimulationConfig, Stop
from fedtp_jax.config.load import from_dict
from fedtp_jax.config.metrics import HEADLINES, attack_columns, measure_names
from fedtp_jax.config.places import in_full
from fedtp_jax.config.plain import plain_values
from fedtp_jax.core import hosts
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.engine.waves import Prefetch
from fedtp_jax.evaluation.choice import best_evaluation
from fedtp_jax.evaluation.metrics import Measured
from fedtp_jax.partitions.make import client_names
from fedtp_jax.results.confusion import class_table
from fedtp_jax.results.notes import excluded_warning
from fedtp_jax.results.result import Result
from fedtp_jax.results.run_report import report_result
from fedtp_jax.results.run_tables import history_row, timing_row
from fedtp_jax.runs.evaluations import Evaluations
from fedtp_jax.runs.progress import OnEvaluation, OnRound, Progress, Resume
from fedtp_jax.simulation.round_result import RoundResult
from fedtp_jax.simulation.rounds import Simulator
from fedtp_jax.simulation.setup import set_up
from fedtp_jax.storage.checkpoints import Saved
from fedtp_jax.storage.csv_log import csv_lines, csv_text, numbers_table
from fedtp_jax.storage.run_folder import CLIENTS, CLIENTS_HISTORY
from fedtp_jax.storage.run_store import Best, RunStore, TakenUp
from fedtp_jax.storage.stored_result import timing_rows

if TYPE_CHECKING:
    import pandas as pd


class Run:
    """One simulation: everything that is set up before the first round, and the loop.

    `share_with`: a run of the same configuration and data but for the seed, whose programs are used. `init`:
    {path: leaf} to start from.
    """

    def __init__(
        self,
        config: SimulationConfig,
        data: Dataset,
        share_with: "Run | None" = None,
        init: Mapping[str, Any] | None = None,
    ) -> None:
        self.simulator: Simulator
        like, self._init = share_with.simulator if share_with else None, init
        self.spec, self.simulator = set_up(config, data, like, init=init)
        # not before: messages name a file as it was given
        self.config = from_dict(in_full(plain_values(config)))
        self.partition = self.simulator.partition
        self._strata, self._class_names = data.strata, data.strata_names
        self.done, self.ended = 0, False  # rounds, and whether the run came to its end with the last of them
        self.rows: list[dict[str, Any]] = []  # of metrics.csv
        self.timing: list[dict[str, Any]] = []  # rows of timing.csv
        self.evaluations = Evaluations(self.simulator, client_names(config.partition, data))
        self.best: Best | None = None
        self._stop = config.training.stop
        self.store: RunStore | None = None  # of the first process alone, and only with a folder

    def open(self, out: Path | None, resume: Resume, alone: bool = True) -> None:
        """Make the folder and the initial state, or take up those of a stopped run.

        `alone`: no other run trains beside it.
        """
        if out is not None and resume:
            self._take_up(out, further=resume == "further")
        else:
            self._begin(out, alone)

    def _begin(self, out: Path | None, alone: bool) -> None:
        self.simulator.compile(alone)
        if out is not None:
            self.store = hosts.on_first(functools.partial(RunStore.create, out, *self._parts))
        self.state = self.simulator.init(self._path)

    def _take_up(self, out: Path, further: bool) -> None:
        """The state of a stopped run, which the first process reads."""
        self.store = hosts.on_first(functools.partial(RunStore.take_up, out, *self._parts))
        initial = self.simulator.initial
        store = self.store
        read: Callable[[], TakenUp]
        read = functools.partial(store.read, initial, further) if store else TakenUp
        self.done, saved, self.best, self.ended = hosts.from_first(read)
        if saved is None:
            self.state = self.simulator.init(self._path)
        else:
            self.rows, self.timing = saved.history, timing_rows(saved)
            self.evaluations.take_up(saved)
            population = initial.population(self.config.engine.rows, self._path)
            self.state = self.simulator.place(saved.state(population))
        if further:
            self._stop = Stop()  # it ends no run
        if not self.ended and self._is_enough():  # it was killed right then
            self.ended = True
            self._end(self.done)

    @property
    def _parts(self) -> tuple[Any, ...]:
        """What a store tells of the run."""
        return self.config, self.spec, self.partition, self._init

    @property
    def _path(self) -> Path | None:
        """Of its folder, where rows on disk lie too: other processes may not have the first one's."""
        return self.store.folder.path if self.store else None

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """The folder is let go at the end, be it that it could not even be opened."""
        try:
            yield
        finally:
            if self.store:
                self.store.close()

    def train(self, on_round: OnRound | None, on_evaluation: OnEvaluation | None) -> None:
        """Do the rounds that are left."""
        rounds = self.config.training.rounds
        left = range(0) if self.ended else range(self.done, rounds)
        prefetch = Prefetch(map(self.simulator.prepare, left))
        measured: Measured | None = None
        try:
            for round in (number + 1 for number in left):
                begin = time.perf_counter()
                self.state, result = self.simulator.round(self.state, round - 1, prefetch.take())
                seconds = time.perf_counter() - begin
                evaluated = self._due(round, self.config.evaluation.every)
                measured = self.evaluations.add(self.state) if evaluated else measured
                row = self._record(round, result, measured if evaluated else None)
                spent = timing_row(round, result, seconds, time.perf_counter() - begin - seconds)
                self.timing.append(spent)
                if self.store:
                    self.store.append_timing(spent)
                if self._due(round, self.config.checkpoint.every):
                    self._save(round)
                seed = self.config.seed
                test, validation = measured[:2] if measured else (None, None)
                newest = test, validation, evaluated
                table = self.evaluations.clients if measured else None
                progress = Progress(seed, round, rounds, result, *newest, seconds, row, table)
                if self._tell(progress, on_round, on_evaluation) or (evaluated and self._is_enough()):
                    self._end(round)
                    break
        finally:
            prefetch.close()

    def _due(self, round: int, every: int) -> bool:
        return round % every == 0 or round == self.config.training.rounds

    def _record(self, round: int, result: RoundResult, measured: Measured | None) -> dict[str, Any]:
        """This round's row, added to the history and to metrics.csv: nothing is of a clock on the wall."""
        asked, validates = self.config.evaluation, self.partition.validation is not None
        tests = {"adapted": asked.adapt.asked_for, "val": validates, "fit": asked.fit}
        measures = measure_names(asked.metrics)
        headline = HEADLINES[self.config.task.kind]
        row = history_row(round, result, measured, [*filter(tests.get, tests)], measures, headline, self.rows)
        if len(self.simulator.adversaries):
            columns = attack_columns(headline, self.config.adversaries.kind == "backdoor")
            row |= measured.attacked if measured else dict.fromkeys(columns)
        row |= self.simulator.private.columns(round, self.state.shared, measured is not None)
        self.rows.append(row)
        if self.store:
            self.store.append_metrics(row)
        if measured:
            self.evaluations.tabulate(self.state, self.rows)
            self._store_clients()
            self._keep_if_best(round)
        return row

    def _store_clients(self) -> None:
        """Write what the last evaluation says of the clients."""
        if self.store and self.evaluations.clients:
            if self.config.evaluation.clients_history:
                self.store.append_clients(self.evaluations.history[-1])
            self.store.write_clients(self.evaluations.clients())

    def _keep_if_best(self, round: int) -> None:
        """Keep what there is after this evaluated round, if checkpoint.best calls it the best until now."""
        metric = self.config.checkpoint.best
        if metric and best_evaluation(self.rows, metric) == (round, 0):
            tables = {CLIENTS: self._clients(), CLIENTS_HISTORY: self._clients_history()}
            logs = {name: csv_text(table).encode() for name, table in tables.items() if table is not None}
            logs["metrics"] = csv_lines(self.rows, header=True).encode()
            self.best = round, Saved.of(self.simulator.fetch(self.state), logs).copied()

    def _is_enough(self) -> bool:
        """Whether training.stop ends the run with its last evaluation."""
        best = best_evaluation(self.rows, self._stop.metric) if self._stop.patience else None
        return best is not None and best[1] >= (self._stop.patience or 0)

    def _save(self, round: int) -> None:
        if self.store or hosts.count() > 1:
            state = self.simulator.fetch(self.state)
            if self.store:
                self.store.save(round, state, self.evaluations.window, self.best)

    def _end(self, round: int) -> None:
        """Save this round, and that it is the last, though more were planned."""
        self._save(round)
        if self.store and round < self.config.training.rounds:
            self.store.end(round)

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

    def finish(self) -> Result:
        """The result, and the report of it."""
        if not self.evaluations.clients:  # taken up after the last round of version 0.1.0
            self.evaluations.add(self.state)
            self.evaluations.tabulate(self.state, self.rows)
            self._store_clients()
        programs = self.simulator.programs
        result = Result(
            config=self.config,
            history=numbers_table(self.rows),
            clients=self._clients(),
            timing=numbers_table(self.timing),
            state=self.simulator.fetch(self.state),
            partition=self.partition,
            data_spec=self.spec,
            compiled={"programs": programs.count, "seconds": programs.seconds},
            init=self._init,
            kept_best=self.best[1] if self.best else None,
            clients_history=self._clients_history(),
        )
        self._write_classes()
        if self.store:
            counts = self.partition.train.class_counts(self._strata[0], self._strata[2])
            write = functools.partial(report_result, result=result, counts=counts)
            self.store.write_report(lambda path: write(path, class_names=self._class_names))
        if (lost := excluded_warning(self.config.seed, result.history, self._path)) and hosts.is_first():
            warnings.warn(lost, stacklevel=4)
        store, last = self.store, int(self.rows[-1]["round"])
        missing = hosts.from_first(lambda: store.missing(last) if store else ())
        return dataclasses.replace(result, missing=missing)

    def _clients(self) -> "pd.DataFrame":
        assert self.evaluations.clients, "asked for after an evaluation"
        return self.evaluations.clients()

    def _clients_history(self) -> "pd.DataFrame | None":
        import pandas as pd

        tables = self.evaluations.history
        return pd.concat(tables, ignore_index=True) if tables else None

    def _write_classes(self) -> None:
        """Write what the last evaluation says of each class, unless a run that was done had done so."""
        if not self.evaluations.counts_classes:
            return
        done, store = self.evaluations.none_yet, self.store
        if hosts.from_first(lambda: store and not (done and store.folder.classes.is_file())):
            counts = self.evaluations.counts(self.state)
            if store:
                store.write_classes(class_table(counts, self._class_names))
