"""A folder kept for one process, on systems that have such locks."""

import contextlib
import datetime
import json
import os
import socket
import sys
import warnings
from pathlib import Path

from fedtp_jax.core.errors import UserError

HELD = "held.json"  # in a folder that is held: by whom


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
            f"{folder}: another process is at work on this run{_holder(folder)}; wait for its end, or stop it"
        ) from None
    except OSError:
        pass  # a file system without locks
    since = datetime.datetime.now().isoformat(" ", "seconds")
    with contextlib.suppress(OSError):
        (folder / HELD).write_text(
            json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since})
        )
    return held


def _holder(folder: Path) -> str:
    """Who has the folder, if that is known."""
    try:
        by = json.loads((folder / HELD).read_text())
        return f" (pid {by['pid']} on {by['host']}, since {by['since']})"
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def unlock(folder: Path, held: int | None) -> None:
    """Let others have the folder."""
    if held is not None:
        with contextlib.suppress(OSError):
            (folder / HELD).unlink(missing_ok=True)
        os.close(held)
