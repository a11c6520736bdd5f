"""What a run shows while it goes on: round, accuracy, clients per second, occupancy, time left; its stop."""

import contextlib
import signal
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from fedtp_jax.config.metrics import headline_of, told
from fedtp_jax.runs.progress import Progress as RoundProgress

WIDE = 100  # columns of a terminal that has room for a bar


class Display:
    """A live line on a terminal and in a notebook; elsewhere one line per evaluation."""

    def __init__(self, console: Console, rounds: int, silent: bool, seeds: Sequence[int] = ()) -> None:
        self.console, self._seeds = console, list(seeds)
        self._done: dict[tuple[str, int], int] = {}  # rounds of each run
        live = console.is_terminal or console.is_jupyter
        self._live_shown, self._lines_shown = live and not silent, not live and not silent
        self._wide = console.width >= WIDE or self._lines_shown
        columns = [
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            *([BarColumn()] if self._wide else []),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            TextColumn("left"),
        ]
        self._live = Progress(TextColumn("round"), *columns, console=console)
        self._task = self._live.add_task("rounds", total=rounds * max(len(seeds), 1), status="compiling")

    def __enter__(self) -> "Display":
        if self._live_shown:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live_shown:
            self._live.refresh()  # rich leaves a notebook with the state before
            self._live.stop()

    def on_round(self, progress: RoundProgress, of: str = "") -> None:
        """Show a finished round, of the run of this name if there are others."""
        result, test = progress.result, progress.test
        headline = headline_of(progress.row)
        adapted = f"adapted {told(headline, test.adapted.pooled)}  " if test and test.adapted else ""
        status = (
            f"{headline} {'-' if test is None else told(headline, test.pooled)}  {adapted}"
            f"loss {result.train_loss:.3f}  {result.clients / progress.seconds:.1f} clients/s"
        )
        if self._wide:
            status += f"  occupancy {result.occupancy:.2f}"
        if result.void:
            status = f"void: {result.clients} of {result.drawn} clients returned"
        name = of + (f"seed {progress.seed}  " if self._seeds else "")
        self._done[of, progress.seed] = progress.round
        self._live.update(self._task, completed=sum(self._done.values()), status=name + status)
        if progress.evaluated and self._lines_shown:
            line = f"{name}round {progress.round}/{progress.rounds}  {status}"
            self.console.print(line, highlight=False, soft_wrap=True)


class Stop:
    """While it is entered, Ctrl-C and SIGTERM are counted and `heard`, called with the count, decides."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, heard: Callable[[int], None]) -> None:
        self.asked, self._heard = 0, heard

    def __enter__(self) -> "Stop":
        self._before = [signal.signal(number, self._ask) for number in self.SIGNALS]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in zip(self.SIGNALS, self._before, strict=True):
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked += 1
        self._heard(self.asked)


class RunDisplay:
    """The display of a command: the first Ctrl-C or SIGTERM stops the run after the round in flight.

    Then its state is whole and can be saved. The second ends the process at once.
    """

    def __init__(self, console: Console, rounds: int, silent: bool, seeds: Sequence[int] = ()) -> None:
        self.console = console
        self._display, self._stop = Display(console, rounds, silent, seeds), Stop(self._stopping)
        self._entered = contextlib.ExitStack()

    def __enter__(self) -> "RunDisplay":
        with contextlib.ExitStack() as entered:
            entered.enter_context(self._stop)
            entered.enter_context(self._display)
            self._entered = entered.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.close()

    def _stopping(self, asked: int) -> None:
        for number in Stop.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        self.console.print("stopping after this round; once more to leave at once")

    def on_round(self, progress: RoundProgress, of: str = "") -> None:
        """Show a finished round; KeyboardInterrupt if it is to be the last."""
        self._display.on_round(progress, of)
        if self._stop.asked:
            raise KeyboardInterrupt
