"""What a run can end with beside its result: a user's mistake, or storage that fails."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path


class UserError(ValueError):
    """Something the user can mend: the message names the field, what came, what was expected, what to do.

    The command line prints the message alone and exits with code 2.
    """


class StorageError(OSError):
    """A file that a run cannot do without could not be written; the message says which, why, and what to do.

    The command line prints the message alone and exits with code 1.
    """


def user_path(path: str | Path) -> Path:
    """A path as a user gives it, with their home in place of ~; UserError where nobody knows that."""
    if not isinstance(path, str | os.PathLike) or not str(path):
        raise UserError(f"path: got {path!r:.80}, expected that of a file or folder")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path}: nobody knows the home folder that ~ stands for; give it in full") from None


def nearest(word: str, choices: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` for the choice nearest to `word`, or an empty string."""
    found = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" (did you mean {found[0]!r}?)" if found else ""


def in_one_line(error: BaseException) -> str:
    """What another library says is wrong, for a message of ours: one line, not too long."""
    words = "no UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
    if isinstance(error, RecursionError):
        words = "nested too deeply"
    if isinstance(error, OSError) and error.strerror:  # without its number and the file, which we name
        words = error.strerror
    text = " ".join(words.split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
