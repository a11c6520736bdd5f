"""The display of `fedtp run`: round, accuracy, clients per second, occupancy, time left - and its stop."""

import signal
from collections.abc import Sequence
from types import FrameType, TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedtp_jax.run import Progress as RoundProgress

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class RunDisplay:
    """A live line on a terminal; elsewhere one line per evaluation.

    The first Ctrl-C or SIGTERM stops the run after the round in flight, when its state is whole and can be
    saved; the second ends the process at once.
    """

    def __init__(self, console: Console, rounds: int, silent: bool, seeds: Sequence[int] = ()) -> None:
        self.console, self._seeds = console, list(seeds)
        self._live_shown = console.is_terminal and not silent
        self._lines_shown = not console.is_terminal and not silent
        self._stopping = False
        self._live = Progress(
            TextColumn("round"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._live.add_task("rounds", total=rounds * max(len(seeds), 1), status="compiling")

    def __enter__(self) -> "RunDisplay":
        self._before = [signal.signal(number, self._stop) for number in SIGNALS]
        if self._live_shown:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live_shown:
            self._live.stop()
        for number, handler in zip(SIGNALS, self._before, strict=True):
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        self.console.print("stopping after this round; once more to leave at once")

    def on_round(self, progress: RoundProgress) -> None:
        """Show a finished round."""
        result, accuracy = progress.result, progress.accuracy
        status = (
            f"accuracy {'-' if accuracy is None else f'{accuracy.pooled:.4f}'}  "
            f"loss {result.train_loss:.3f}  {result.clients / progress.seconds:.1f} clients/s  "
            f"occupancy {result.occupancy:.2f}"
        )
        if result.void:
            status = f"void: {result.clients} of {result.drawn} clients returned"
        before, name = 0, ""
        if self._seeds:
            before, name = self._seeds.index(progress.seed) * progress.rounds, f"seed {progress.seed}  "
        self._live.update(self._task, completed=before + progress.round, status=name + status)
        if progress.evaluated and self._lines_shown:
            line = f"{name}round {progress.round}/{progress.rounds}  {status}"
            self.console.print(line, highlight=False, soft_wrap=True)
        if self._stopping:
            raise KeyboardInterrupt
