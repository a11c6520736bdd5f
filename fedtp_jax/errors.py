"""What a run can end with beside its result: a user's mistake, or storage that fails."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user can mend: the message names the field, what came, what was expected, what to do.

    The command line prints the message alone and exits with code 2.
    """


class StorageError(OSError):
    """A file that a run cannot do without could not be written; the message says which, why, and what to do.

    The command line prints the message alone and exits with code 1.
    """


def nearest(word: str, choices: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` for the choice nearest to `word`, or an empty string."""
    found = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" (did you mean {found[0]!r}?)" if found else ""
