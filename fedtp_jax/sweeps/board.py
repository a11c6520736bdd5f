"""What a sweep says while it runs, and what of it has failed."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console

from fedtp_jax.comparison.compared_run import ComparedRun
from fedtp_jax.config.metrics import measure_of, told
from fedtp_jax.core.counted import count_of
from fedtp_jax.storage.csv_log import csv_rows
from fedtp_jax.storage.run_folder import RunFolder
from fedtp_jax.sweeps.combinations import Combination


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
