"""What a command gives the user: lines, tables, pictures, files that a flag asks for.

Whatever a user named is printed as it is. What a console cannot show is replaced, and an output that is
closed or full changes neither what was computed nor the exit code.
"""

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console

from fedtp_jax.core.errors import UserError
from fedtp_jax.storage.files import write_atomically

UNBOUNDED = 10_000  # letters in a line
PICTURES = ".png", ".pdf", ".svg"

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fedtp_jax.comparison.sheet import Sheet


def unwritable(flag: str, path: Path, error: OSError) -> UserError:
    """What the user is told of a file that cannot be written."""
    return UserError(f"{flag} {path}: cannot be written ({error.strerror}); choose another file")


def write_output(flag: str, path: Path, content: str | bytes) -> None:
    """Write the file whole or not at all; UserError where that fails."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise unwritable(flag, path, error) from None


def replace_what_cannot_be_shown() -> None:
    """From now on a sign that the console's encoding lacks is printed as a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")


def tell(text: str, error: bool = False) -> None:
    """Print to standard output, or error, as it stands: no markup, no line broken to the terminal's width."""
    stream = sys.stderr if error else sys.stdout
    try:
        print(text, file=stream, flush=True)
    except OSError:
        _close(stream)


def _close(stream: TextIO) -> None:
    """Nobody reads it any more, or its disk is full; what is still in its buffer goes nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def show(table: Any, whole: bool = False) -> None:
    """Print what rich renders, as wide as the terminal; `whole`: wider if a cell would not stand whole."""
    console = Console(highlight=False)
    if whole:
        unbounded = console.options.update(max_width=UNBOUNDED)
        console.width = max(console.width, console.measure(table, options=unbounded).maximum)
    with console.capture() as drawn:
        console.print(table)
    tell(drawn.get().rstrip("\n"))


def show_sheet(sheet: "Sheet") -> None:
    """Print a comparison: bold and as wide as the terminal, plain text where that is none."""
    if Console().is_terminal:
        show(sheet.terminal())
    else:
        tell(sheet.text().rstrip("\n"))


def expect_picture(flag: str, path: Path | None) -> None:
    """Refuse another ending before any work is done for it."""
    if path is not None and path.suffix.lower() not in PICTURES:
        raise UserError(
            f"{flag} {path}: expected a file that ends in {', '.join(PICTURES[:-1])} or {PICTURES[-1]}"
        )


def write_picture(flag: str, path: Path, figure: "Figure") -> None:
    """Write the figure in the format that the file's ending names."""
    from fedtp_jax.plots.style import to_png, to_vectors  # matplotlib: not before it is needed

    form = path.suffix.lower()
    write_output(flag, path, to_png(figure) if form == ".png" else to_vectors(figure, form[1:]))
