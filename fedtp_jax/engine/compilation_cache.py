"""Compiled programs kept on disk between commands, by JAX's own cache.

JAX writes a program where others read it: a process that is killed meanwhile leaves half a program, which is
warned of for ever after. So each process has a folder of its own, with links to all programs that are kept,
and whole ones alone are linked back.
"""

import atexit
import contextlib
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

import jax

LIMIT = 2**28  # bytes that are kept; a run's programs take about 1 MB
OWN = "at-work-"  # begins the names of the processes' own folders
OLD = 7 * 86400.0  # seconds after which a folder is nobody's, be it another machine's

_own: Path | None = None  # this process's folder, if it keeps its programs
_shared: set[str] = set()  # names of those that others have too


def keep_programs() -> None:
    """Let JAX keep what it compiles in the user's cache folder, unless it was told where, or not to.

    The user says so by JAX's own settings, such as JAX_COMPILATION_CACHE_DIR and
    JAX_ENABLE_COMPILATION_CACHE=false. Where the folder cannot be written, or knows no links, none are kept.
    """
    global _own
    settings = jax.config
    if settings.jax_compilation_cache_dir or not settings.jax_enable_compilation_cache:  # type: ignore[attr-defined]
        return
    try:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(root) / "fedtp_jax" / "xla"
        folder.mkdir(parents=True, exist_ok=True)
        _forget_oldest(folder)
        _forget_dead(folder)
        _own = _open(folder)
    except (OSError, RuntimeError):  # RuntimeError: no home
        return
    atexit.register(_close, _own)
    settings.update("jax_compilation_cache_dir", str(_own))
    settings.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # they lie beside the programs, whose names would then depend on this process's folder
    settings.update("jax_persistent_cache_enable_xla_caches", "none")


def share_programs() -> None:
    """Let other processes have what this one has compiled; not while a program is being compiled."""
    if _own is None:
        return
    for program in _own.glob("*-cache"):
        if program.name not in _shared:
            _shared.add(program.name)
            with contextlib.suppress(OSError):  # another process was quicker, or the folder is gone
                os.link(program, _own.parent / program.name)


def _open(folder: Path) -> Path:
    """A new folder for this process, with links to all programs of `folder`."""
    own = Path(tempfile.mkdtemp(prefix=f"{OWN}{socket.gethostname()}-{os.getpid()}-", dir=folder))
    try:
        for program in folder.glob("*-cache"):
            with contextlib.suppress(FileNotFoundError):  # another process made room
                os.link(program, own / program.name)
                _shared.add(program.name)
    except OSError:
        shutil.rmtree(own, ignore_errors=True)
        raise
    return own


def _close(own: Path) -> None:
    share_programs()
    shutil.rmtree(own, ignore_errors=True)


def _forget_dead(folder: Path) -> None:
    """Delete the folders of processes that were killed."""
    for own in folder.glob(f"{OWN}{socket.gethostname()}-*"):
        if not _lives(own.name.rsplit("-", 2)[1]):
            shutil.rmtree(own, ignore_errors=True)
    for own in folder.glob(f"{OWN}*"):
        if time.time() - own.stat().st_mtime > OLD:
            shutil.rmtree(own, ignore_errors=True)


def _lives(pid: str) -> bool:
    """Whether there may be such a process."""
    if os.name == "nt" or not pid.isdecimal():  # Windows takes the question for Ctrl-C
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _forget_oldest(folder: Path) -> None:
    """Delete the oldest programs beyond LIMIT.

    JAX can bound the folder too, but needs another package for it, and then fails to write for ever after a
    process was killed between the two files that it writes for a program.
    """
    files = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in folder.glob("*-cache"))
    excess = sum(size for _, size, _ in files) - LIMIT
    for _, size, path in files:
        if excess <= 0:
            break
        path.unlink(missing_ok=True)
        excess -= size
