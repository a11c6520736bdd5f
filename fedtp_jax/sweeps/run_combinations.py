"""Running a sweep's combinations: one after the other here, or several at once in processes of their own."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from rich.console import Console

from fedtp_jax.comparison.compared_run import ComparedRun
from fedtp_jax.config.metrics import measure_of, told
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import StorageError, UserError
from fedtp_jax.results.result import Result
from fedtp_jax.results.summary import missing_in_words
from fedtp_jax.runs.display import RunDisplay, Stop
from fedtp_jax.runs.progress import Progress
from fedtp_jax.runs.side_by_side import Job
from fedtp_jax.runs.simulate import simulate, simulate_alike
from fedtp_jax.simulation.numbers import programs_alike
from fedtp_jax.simulation.setup import may_train_side_by_side
from fedtp_jax.storage.csv_log import csv_rows
from fedtp_jax.storage.locks import keeping
from fedtp_jax.storage.run_folder import RunFolder
from fedtp_jax.sweeps.combinations import Combination, check, make_folder
from fedtp_jax.sweeps.core_shares import child_environment, core_shares
from fedtp_jax.sweeps.orphans import PARENT

PAUSE = 0.1  # seconds between two looks at the processes


class Board:
    """Says which run is finished, how many are left, and keeps what failed: {combination's name: message}."""

    def __init__(
        self, combinations: Sequence[Combination], console: Console, select: str | None = None
    ) -> None:
        self.console, self.select = console, select
        self.failed: dict[str, str] = {}
        self._heard: set[str] = set()  # warnings that were told
        self._all = sum(len(c.seeds) for c in combinations)
        self.left = {(c.name, seed) for c in combinations for seed in c.left}
        if done := self._all - len(self.left):
            of = f"of {self._all} runs"
            self.say(f"{count_of(done, f'{of} is', f'{of} are')} finished already")

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def warnings_once(self) -> Iterator[None]:
        """What warns in the block is told once, and not again by the combinations' processes."""
        show = warnings.showwarning

        def once(message: Warning | str, *where: Any, **more: Any) -> None:
            if self._is_new(f"warning: {message}"):
                show(message, *where, **more)

        warnings.showwarning = once
        try:
            yield
        finally:
            warnings.showwarning = show

    def _is_new(self, line: str) -> bool:
        known = line in self._heard
        self._heard.add(line)
        return not known

    def pass_on(self, combination: Combination, line: str) -> None:
        """What a combination's process has said beside its results, unless it was said before."""
        if self._is_new(line):
            self.say(f"{combination.name}: {line}")

    def finished(self, combination: Combination, seed: int) -> None:
        """A run has come to its end."""
        self.left.discard((combination.name, seed))
        path = combination.run(seed)
        run = ComparedRun.read(path)
        # who chooses by validation shards shall not see how test shards would choose
        metric = self.select or run.headline
        figure = run.validated(metric) if self.select else run.measure(metric)
        timing = csv_rows(RunFolder(path).timing.content())
        words = told(measure_of(metric.removeprefix("val_")), figure)
        seconds = sum(row["train_seconds"] + row["evaluation_seconds"] for row in timing)
        left = f"{len(self.left)} of {self._all} left"
        self.say(f"{combination.name}, seed {seed}: {metric} {words}, {seconds:.1f} s; {left}")

    def fail(self, combination: Combination, message: str) -> None:
        """A combination has failed; the others go on."""
        self.failed[combination.name] = message
        self.left -= {(combination.name, seed) for seed in combination.seeds}
        self.say(f"{combination.name}: failed: {message}")


def run_left(
    file: Path, combinations: Sequence[Combination], out: Path, board: Board, processes: int
) -> None:
    """Check what is left of a file's combinations, and run it. KeyboardInterrupt as `run_here`."""
    with board.warnings_once():
        check(file, [combination for combination in combinations if combination.left], board.select)
        make_folder(out, combinations, board.select)
        with keeping(out, "sweep"):
            if processes == 1:
                run_here(combinations, board)
            else:
                run_in_processes(combinations, board, processes)


def run_here(combinations: Sequence[Combination], board: Board) -> None:
    """Run what is not finished. KeyboardInterrupt when a signal has stopped it, everything saved."""
    for alike in _side_by_side([combination for combination in combinations if combination.left]):
        if len(alike) > 1:
            try:
                _run_together(alike, board)
                continue
            except Exception as error:  # whose fault it is shows when each goes on alone
                names = ", ".join(combination.name for combination in alike)
                board.say(f"{names}: stopped side by side ({_words(error)}); each alone from here")
        for combination in alike:
            try:
                _run(combination, board)
            except Exception as error:  # whatever it is, it must not end the others
                board.fail(combination, _words(error))


def _words(error: Exception) -> str:
    known = isinstance(error, UserError | StorageError | FloatingPointError)
    return str(error) if known else f"{type(error).__name__}: {error}"


def _side_by_side(combinations: Sequence[Combination]) -> list[list[Combination]]:
    """In groups that train side by side: each of one combination, unless `engine.simulations` says more."""
    groups: list[list[Combination]] = []
    for combination in combinations:
        config = combination.config
        if may_train_side_by_side(config):
            group = next((group for group in groups if programs_alike(group[0].config, config)), None)
            if group:
                group.append(combination)
                continue
        groups.append([combination])
    return groups


def _run_together(combinations: Sequence[Combination], board: Board) -> None:
    """Combinations whose programs are alike, at the same time."""
    seeds, console = [combination.begin() for combination in combinations], board.console
    rounds, silent = combinations[0].config.training.rounds, console.quiet or not console.is_terminal
    display = RunDisplay(console, rounds, silent, seeds=[seed for some in seeds for seed in some])

    def job(combination: Combination) -> Job:
        def on_round(progress: Progress) -> None:
            if progress.round == rounds:
                board.finished(combination, progress.seed)
            display.on_round(progress, f"{combination.name}  ")

        return Job(combination.config, combination.folder, True, on_round, None)

    with display:
        results = simulate_alike([job(combination) for combination in combinations], seeds)
    for combination, some in zip(combinations, seeds, strict=True):
        _close(combination, some, results[: len(some)], board)
        results = results[len(some) :]


def _run(combination: Combination, board: Board) -> None:
    seeds, console, rounds = combination.begin(), board.console, combination.config.training.rounds
    display = RunDisplay(console, rounds, silent=console.quiet or not console.is_terminal, seeds=seeds)

    def on_round(progress: Progress) -> None:
        if progress.round == rounds:
            board.finished(combination, progress.seed)
        display.on_round(progress)

    with display:
        results = simulate(
            combination.config, seeds=seeds, out=combination.folder, resume=True, on_round=on_round
        )
    _close(combination, seeds, results, board)


def _close(combination: Combination, seeds: Sequence[int], results: Sequence[Result], board: Board) -> None:
    for seed in seeds:
        if (combination.name, seed) in board.left:  # it was stopped between its last round and its report
            board.finished(combination, seed)
    if missing := missing_in_words(results, combination.folder, seeds=True):
        board.fail(combination, missing)


def run_in_processes(combinations: Sequence[Combination], board: Board, processes: int) -> None:
    """As `run_here`, so many combinations at once, each by a process with its share of the CPU cores."""
    waiting = [combination for combination in combinations if combination.left]
    shares = core_shares(max(min(processes, len(waiting)), 1))
    running: dict[int, _Child] = {}

    def say(asked: int) -> None:
        if asked == 1:
            board.say("stopping each run after its round; once more to leave at once")

    with Stop(say) as stop:
        try:
            while running or (waiting and not stop.asked):
                for slot, share in enumerate(shares):
                    if slot not in running and waiting and not stop.asked:
                        combination = waiting.pop(0)
                        try:
                            running[slot] = _Child(combination, share, len(shares))
                        except StorageError as error:  # it must not end the others
                            board.fail(combination, str(error))
                for slot, child in [*running.items()]:
                    if not child.goes_on(board, stop.asked):
                        del running[slot]
                time.sleep(PAUSE)
        finally:
            for child in running.values():
                child.process.terminate()
    if stop.asked:
        raise KeyboardInterrupt


class _Child:
    """`fedtp resume FOLDER` in a process group of its own, which the terminal's Ctrl-C does not reach."""

    def __init__(self, combination: Combination, cores: set[int], processes: int) -> None:
        self.combination, self._told = combination, 0
        self._left = combination.left
        combination.begin()
        self._errors: IO[Any] = tempfile.TemporaryFile("w+")  # noqa: SIM115 (open while the child is)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fedtp_jax", "resume", str(combination.folder), "--quiet"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            process_group=0,
            env={**child_environment(processes, _devices(combination)), PARENT: str(os.getpid())},
        )
        if hasattr(os, "sched_setaffinity"):  # XLA sizes its pool of threads by it
            with contextlib.suppress(OSError):  # it has ended already, or may not be told
                os.sched_setaffinity(self.process.pid, cores)

    def goes_on(self, board: Board, asked: int) -> bool:
        """Pass signals on, tell of finished runs; False when the process has ended."""
        while self._told < min(asked, 2):
            self._told += 1
            self.process.terminate()
        code = self.process.poll()  # before the look at the files: what it wrote last is seen too
        for seed in self._left:
            if self.combination.is_done(seed):
                board.finished(self.combination, seed)
        self._left = self.combination.left
        if code is None:
            return True
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        self._errors.close()
        if code and not asked:
            board.fail(self.combination, _reason(code, lines))
        elif not code:
            for line in lines:
                board.pass_on(self.combination, line)
        return False


def _reason(code: int, lines: Sequence[str]) -> str:
    """Why a child has failed, by its exit code and its standard error."""
    if code < 0 or not lines:
        return f"ended by signal {-code}" if code < 0 else f"exit code {code}"
    told = [line for line in lines if line.startswith(("error: ", "failed: "))]
    return told[-1].partition(": ")[2] if told else lines[-1]


def _devices(combination: Combination) -> int:
    devices = combination.config.engine.devices
    return 1 if devices == "auto" else devices
