"""The memory of a process and of all that it started, looked at again and again while it runs (Linux)."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

PROC = Path("/proc")
EVERY = 1.0  # seconds: to look takes some milliseconds, of the very cores that are measured


def run_with_peak(command: Sequence[str], environment: Mapping[str, str], log: IO[str]) -> tuple[int, int]:
    """(exit code, peak in MB (10^6 bytes)): the most that the process and its descendants held at once.

    Each process counts its proportional share (PSS) of pages that several of them map. Descendants that
    outlive their parent are still counted. Without /proc the peak is 0.
    """
    process = subprocess.Popen(
        command, env=dict(environment), stdout=log, stderr=subprocess.STDOUT, text=True
    )
    family, over, peak = {process.pid}, threading.Event(), 0

    def watch() -> None:
        nonlocal peak
        while not over.wait(EVERY):
            peak = max(peak, held(grown(family)))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        code = process.wait()
    finally:
        over.set()
        watcher.join()
        for left in grown(family):  # of what was started here, nothing shall slow the next one down
            with contextlib.suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)
    return code, round(peak / 1e6)


def grown(family: set[int]) -> set[int]:
    """`family` with the living descendants of its members, and without the dead."""
    parents = _parents()
    while more := {pid for pid, parent in parents.items() if parent in family and pid not in family}:
        family |= more
    family &= parents.keys()
    return family


def held(pids: set[int]) -> int:
    """Bytes that these processes hold together."""
    return sum(map(_proportional, pids))


def _parents() -> dict[int, int]:
    found = {}
    for folder in PROC.iterdir() if PROC.exists() else ():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            found[int(folder.name)] = int(fields[1])
    return found


def _proportional(pid: int) -> int:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
