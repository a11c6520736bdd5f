"""What a command gives the user beside its words: a table, a picture, a file that a flag asks for."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from fedtp_jax.comparison.sheet import Sheet
from fedtp_jax.core.errors import UserError
from fedtp_jax.storage.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def unwritable(flag: str, path: Path, error: OSError) -> UserError:
    """What the user is told of a file that cannot be written."""
    return UserError(f"{flag} {path}: cannot be written ({error.strerror}); choose another file")


def write_output(flag: str, path: Path, content: str | bytes) -> None:
    """Write the file whole or not at all; UserError where that fails."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise unwritable(flag, path, error) from None


def show(sheet: Sheet) -> None:
    """Print a table: bold and as wide as the terminal, plain text where that is none."""
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(sheet.terminal())
    else:
        sys.stdout.write(sheet.text())


def expect_png(flag: str, path: Path | None) -> None:
    """Refuse another ending before any work is done for it."""
    if path is not None and path.suffix.lower() != ".png":
        raise UserError(f"{flag} {path}: expected a file that ends in .png")


def write_picture(flag: str, path: Path, figure: "Figure") -> None:
    """Write the figure as a PNG file."""
    from fedtp_jax.plots.style import to_png  # matplotlib: not before it is needed

    write_output(flag, path, to_png(figure))
