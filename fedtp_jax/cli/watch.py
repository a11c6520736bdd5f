"""`fedtp watch`: a run, or many, that another process is at work on. JAX is not loaded."""

import json as jsonlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from fedtp_jax.cli.output import show, tell
from fedtp_jax.core.errors import UserError

if TYPE_CHECKING:
    from fedtp_jax.sweeps.watched_runs import WatchedRuns

PAUSE, SHARE = 1.0, 10  # seconds between two looks at least, and times what a look takes
PAGES = ".html", ".htm"


def watch(
    directory: Annotated[Positional[Path], arg(help="the folder of a run, of some seeds', or of a sweep")],
    page: Annotated[
        Path | None,
        arg(metavar="FILE.html", help="write a page that reloads itself, in place of the terminal's display"),
    ] = None,
    once: Annotated[bool, arg(help="show it as it is now, and leave")] = False,
    json: Annotated[bool, arg(help="with --once: print it as one JSON object")] = False,
) -> int:
    """Show how a run or a sweep gets on that another process is at work on, here or on another machine.

    Until it ends. It reads the folder alone: Ctrl-C leaves the run as it is.
    """
    if json and not once:
        raise UserError("--json: is of one moment; give --once beside it")
    if page is not None and page.suffix.lower() not in PAGES:
        raise UserError(f"--page {page}: expected a file that ends in .html")
    return _once(directory, page, json) if once else _until_the_end(directory, page)


def _once(directory: Path, page: Path | None, json: bool) -> int:
    from fedtp_jax.cli.watch_words import as_json
    from fedtp_jax.runs.watched import Watcher
    from fedtp_jax.sweeps.watched_runs import look_at

    seen = look_at(directory, Watcher())
    if page is not None:
        from fedtp_jax.cli.watch_page import write_page  # matplotlib: not before it is needed

        write_page(page, seen)
    if json:
        tell(jsonlib.dumps(as_json(seen)))
    elif page is None:
        _show(seen)
    else:
        tell(f"wrote {page}")
    return 0


def _until_the_end(directory: Path, page: Path | None) -> int:
    """0 once all is done, 1 where nobody goes on with it any more."""
    from fedtp_jax.cli.watch_views import in_page, in_terminal
    from fedtp_jax.cli.watch_words import ending_of
    from fedtp_jax.runs.watched import Watcher
    from fedtp_jax.sweeps.watched_runs import look_at

    watcher, begin = Watcher(), time.monotonic()
    seen = look_at(directory, watcher)
    try:
        with in_page(page) if page else in_terminal() as shown:
            shown(seen)
            while seen.goes_on:
                time.sleep(max(PAUSE, SHARE * (time.monotonic() - begin)))
                begin = time.monotonic()
                seen = look_at(directory, watcher)
                shown(seen)
    except KeyboardInterrupt:
        if not page:
            _show(seen)
        tell("no longer watched; the run goes on", error=True)
        return 130
    if not page:
        _show(seen)
    if seen.finished:
        return 0
    if page or not seen.single:
        tell(ending_of(seen), error=True)
    return 1


def _show(seen: "WatchedRuns") -> None:
    """Print it to stay; lines are as wide as they are where no terminal is."""
    from fedtp_jax.cli.watch_views import drawn

    show(drawn(seen), whole=not Console().is_terminal)
