"""A folder kept for one process, on systems that have such locks; and who has it."""

import contextlib
import datetime
import json
import os
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fedtp_jax.core.errors import UserError

HELD = "held.json"  # in a folder that is held: by whom
GLANCE = 0.05  # seconds, in which `at_work` has long let go again


class Holder(NamedTuple):
    """The process that has a folder, or had it when it was killed."""

    pid: int
    host: str
    since: str


def lock(folder: Path, what: str = "run") -> int | None:
    """Keep `folder` for this process; what it gives is for `unlock`. UserError if another process has it.

    The lock is on the folder itself and ends with the process, however it ends. Where the system has none, a
    warning says so. `what` the folder holds is for messages.
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
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # by who is at work, or by who looks whether somebody is
            time.sleep(GLANCE)
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        by = holder(folder)
        who = f" (pid {by.pid} on {by.host}, since {by.since})" if by else ""
        raise UserError(
            f"{folder}: another process is at work on this {what}{who}; wait for its end, or stop it"
        ) from None
    except OSError:
        pass  # a file system without locks
    since = datetime.datetime.now().isoformat(" ", "seconds")
    with contextlib.suppress(OSError):
        (folder / HELD).write_text(
            json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since})
        )
    return held


@contextlib.contextmanager
def keeping(folder: Path, what: str) -> Iterator[None]:
    """Keep `folder` for this process within the block, as `lock` does."""
    held = lock(folder, what)
    try:
        yield
    finally:
        unlock(folder, held)


def holder(folder: Path) -> Holder | None:
    """Who has the folder, or had it when it was killed, if that is known."""
    try:
        by = json.loads((folder / HELD).read_text())
        return Holder(int(by["pid"]), str(by["host"]), str(by["since"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def at_work(folder: Path) -> bool | None:
    """Whether a process has the folder; None where this system, or this machine, cannot know.

    Nothing is written. The lock is tried for a moment, and only where a process has noted that it has it.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    if not (folder / HELD).is_file():
        return False
    here = (by := holder(folder)) is None or by.host == socket.gethostname()
    try:
        looked = os.open(folder, os.O_RDONLY)
    except OSError:  # it is gone
        return False
    try:
        fcntl.flock(looked, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(looked)
    return False if here else None  # a lock may be known to its own machine alone


def unlock(folder: Path, held: int | None) -> None:
    """Let others have the folder."""
    if held is not None:
        with contextlib.suppress(OSError):
            (folder / HELD).unlink(missing_ok=True)
        os.close(held)
