"""Where `fedtp watch` shows what it sees: a live display, lines where there is no terminal, a page."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fedtp_jax.cli.output import tell
from fedtp_jax.cli.watch_words import board_of, line_of, lines_of, rest_of, sum_of
from fedtp_jax.runs.watched import Watched
from fedtp_jax.sweeps.watched_runs import WatchedRuns

Shown = Callable[[WatchedRuns], None]
FRAME = 7  # lines around a board's rows
BAR = 40  # columns
LEFT_ALIGNED = "run", "state"
# whom a terminal without room for all shows first
FIRST = {"running": 0, "unknown": 1, "stopped": 2, "finished": 3, "waiting": 4}


@contextlib.contextmanager
def in_terminal() -> Iterator[Shown]:
    """A display that changes in its place; where there is no terminal a line for what is new."""
    console = Console()
    if not console.is_terminal:
        yield _in_lines()
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda seen: live.update(drawn(seen, console.height), refresh=True)


def _in_lines() -> Shown:
    told: dict[Path, str] = {}

    def shown(seen: WatchedRuns) -> None:
        for run in seen.runs:
            line = line_of(run, seen)
            if told.get(run.folder) != line:
                told[run.folder] = line
                tell(line)

    return shown


@contextlib.contextmanager
def in_page(path: Path) -> Iterator[Shown]:
    """A page at `path`, written anew at every look."""
    from fedtp_jax.cli.watch_page import write_page  # matplotlib: not before it is needed

    told = False

    def shown(seen: WatchedRuns) -> None:
        nonlocal told
        write_page(path, seen)
        if not told:
            told = True
            tell(f"wrote {path}")

    yield shown


def drawn(seen: WatchedRuns, height: int | None = None) -> RenderableType:
    """What rich renders; `height`: of the terminal in which it stands for a while, None: it is to stay."""
    if seen.single:
        return _run(seen.runs[0], bar=height is not None)
    room = len(seen.runs) if height is None else max(height - FRAME, 1)
    return Group(Text(f"{seen.folder}, {sum_of(seen)}"), _board(seen, room))


def _run(run: Watched, bar: bool) -> Table:
    """A line for each thing that there is to say."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for what, words in lines_of(run):
        table.add_row(what, Text(words))
        if what == "rounds" and bar and run.planned:
            table.add_row("", ProgressBar(run.planned, run.done, width=BAR))
    return table


def _board(seen: WatchedRuns, room: int) -> Table:
    """A row for each run, or for those that matter most where there is no room for all."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    kept = _most_wanted(seen.runs, room)
    rows = board_of(seen, kept)
    for name in rows[0]:
        table.add_column(name, justify="left" if name in LEFT_ALIGNED else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row.values()))
    if len(kept) < len(seen.runs):
        table.caption = rest_of(seen, kept)
        table.caption_justify = "left"
    return table


def _most_wanted(runs: Sequence[Watched], room: int) -> list[Watched]:
    """So many runs, in their order."""
    by_need = sorted(range(len(runs)), key=lambda k: (FIRST[runs[k].state], k))
    return [runs[k] for k in sorted(by_need[:room])]
