"""Runs of one data set to their ends: one after the other, or side by side, their programs as one."""

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from fedtp_jax.config import SimulationConfig, name_of
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.jax_settings import in_our_settings
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.results.result import Result
from fedtp_jax.runs.progress import OnEvaluation, OnRound, Progress, Resume
from fedtp_jax.runs.run import Run
from fedtp_jax.simulation.numbers import differing_numbers
from fedtp_jax.simulation.setup import at_once, share_programs

T = TypeVar("T")


class Job(NamedTuple):
    """A run to do: its configuration, its folder or None, whether it was begun there, and who hears of it.

    `init`: {path: leaf} that it starts from, None: what its seed draws.
    """

    config: SimulationConfig
    folder: Path | None
    resume: Resume
    on_round: OnRound | None
    on_evaluation: OnEvaluation | None
    init: Mapping[str, Any] | None = None


def run_jobs(jobs: Sequence[Job], data: Dataset, begin: Callable[[], None] = lambda: None) -> list[Result]:
    """Their results. Several are of configurations that `programs_alike` finds alike.

    `begin` is called once, when all of them are set up and nothing is written yet.
    """
    first = Run(jobs[0].config, data, init=jobs[0].init)
    runs = [first, *(Run(job.config, data, share_with=first, init=job.init) for job in jobs[1:])]
    _check_as_many(runs)
    share_programs([run.simulator for run in runs])
    begin()
    numbers = differing_numbers([job.config for job in jobs])
    together, results = at_once(first.simulator, len(runs)), list[Result]()
    for k in range(0, len(runs), together):
        some = slice(k, k + together)
        # programs that others share hold the first one's numbers, unless they are handed over
        alone = together == 1 and not numbers[k]
        with contextlib.ExitStack() as closing:
            for job, run in zip(jobs[some], runs[some], strict=True):
                closing.enter_context(run.closing())
                run.open(job.folder, job.resume, alone)
            if alone:
                runs[k].train(jobs[k].on_round, jobs[k].on_evaluation)
            else:
                _SideBySide(jobs[some], runs[some], numbers[some]).train()
            results += [run.finish() for run in runs[some]]
    return results


def _check_as_many(runs: Sequence[Run]) -> None:
    """Raise UserError where a partition of the user's own gives some seed another number of clients."""
    first, *others = ((run.config, run.partition.num_clients) for run in runs)
    for config, clients in others:
        if clients != first[1]:
            raise UserError(
                f"partition: {name_of(config.partition)} gives {first[1]} clients with seed {first[0].seed} "
                f"and {clients} with seed {config.seed}; give as many with every seed, or run each alone"
            )


class _SideBySide:
    """Runs of which each trains on a thread of its own.

    Who hears of them is called by one at a time. What one raises ends all: the others save a checkpoint after
    their round.
    """

    def __init__(
        self, jobs: Sequence[Job], runs: Sequence[Run], numbers: Sequence[Mapping[str, float]]
    ) -> None:
        self._jobs, self._runs = jobs, runs
        for own, run in zip(numbers, runs, strict=True):
            run.simulator.numbers = dict(own)
        self._one_at_a_time, self._enough = threading.Lock(), threading.Event()
        self._errors: list[BaseException] = []

    def train(self) -> None:
        """Do the rounds that are left of all; raises what the first to fail has raised."""
        bench, alike = self._runs[0].simulator.bench, [run.simulator.alike for run in self._runs]
        with bench.programs.side_by_side(alike, bench.examples) as meeting:

            def train(number: int) -> None:
                try:
                    with in_our_settings(), meeting.join(number):
                        self._train(self._jobs[number], self._runs[number])
                except BaseException as error:  # it is raised in the caller's thread
                    self._errors.append(error)
                    self._enough.set()

            threads = [
                threading.Thread(target=train, args=(number,), name=f"run-{number}", daemon=True)
                for number in range(len(self._runs))
            ]
            for thread in threads:
                thread.start()
            try:
                _join(threads)
            except KeyboardInterrupt:
                self._enough.set()
                _join(threads)
                raise
        if self._errors:
            raise self._errors[0]

    def _train(self, job: Job, run: Run) -> None:
        def on_round(progress: Progress) -> None:
            self._call(job.on_round, progress)
            if self._enough.is_set():
                raise KeyboardInterrupt

        run.train(on_round, lambda progress: bool(self._call(job.on_evaluation, progress)))

    def _call(self, hook: Callable[[Progress], T] | None, progress: Progress) -> T | None:
        with self._one_at_a_time:
            return hook(progress) if hook else None


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.join()
