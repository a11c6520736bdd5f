"""A folder kept for one process, on systems that have such locks."""

import os
import sys
import warnings
from pathlib import Path

from fedtp_jax.core.errors import UserError


def lock(folder: Path) -> int | None:
    """Keep `folder` for this process; what it gives is for `unlock`. UserError if another process has it.

    The lock is on the folder itself and ends with the process, however it ends. Where the system has none, a
    warning says so.
    """
    if sys.platform == "win32":
        warnings.warn(
            f"{folder}: this system has no locks on folders, so nothing keeps a second process from it; see "
            "that there is none",
            stacklevel=3,
        )
        return None
    import fcntl

    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise UserError(
            f"{folder}: another process is at work on this run; wait for its end, or stop it"
        ) from None
    except OSError:
        pass  # a file system without locks
    return held


def unlock(held: int | None) -> None:
    """Let others have the folder."""
    if held is not None:
        os.close(held)
