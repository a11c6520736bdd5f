"""`fedtp resume FOLDER` in a process of its own, wherever a sweep has it done."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fedtp_jax.storage.locks import at_work
from fedtp_jax.sweeps.core_shares import child_environment
from fedtp_jax.sweeps.orphans import PARENT

PAUSE = 1  # seconds between two looks at a folder that another process has
STILL = 120  # seconds without a change in it, after which that one is taken for gone where locks cannot tell


class Ended(NamedTuple):
    """How it has ended: exit code, None if it was lost with its machine; the lines of its standard error."""

    code: int | None
    lines: list[str]


class Child:
    """The process, in a group of its own, which the terminal's Ctrl-C does not reach."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (open while the child is)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fedtp_jax", "resume", str(folder), "--quiet"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            process_group=0,
            env={**environment, PARENT: str(os.getpid())},
        )

    def stop(self) -> None:
        """Ask it to end after its round; asked once more it ends at once."""
        self.process.terminate()

    def ended(self) -> Ended | None:
        """None while it is at work."""
        code = self.process.poll()
        return None if code is None else Ended(code, self._said())

    def wait(self) -> Ended:
        return Ended(self.process.wait(), self._said())

    def _said(self) -> list[str]:
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        self._errors.close()
        return lines


class Work:
    """A child for a machine elsewhere, to which this is sent and where it is called.

    Args:
      folder: of the combination, under the same name there.
      devices: CPU devices that its configuration asks for, at least.
      gpus: how many it has, or the share of one.
    """

    def __init__(self, folder: Path, devices: int, gpus: float) -> None:
        self.folder, self.devices, self.gpus = folder.absolute(), devices, gpus
        self._child: Child | None = None

    def __call__(self) -> Ended:
        """Do it, once nobody else is at work on it. SIGTERM and KeyboardInterrupt stop it after its round."""
        _wait_until_free(self.folder)
        sharing = max(1, round(1 / self.gpus)) if self.gpus else 1
        child = self._child = Child(self.folder, child_environment(sharing, self.devices))
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda *_: child.stop())
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                child.stop()

    def checkpoint(self) -> Any:
        """What goes on in its place: called before a time limit, by submitit, once the round is saved."""
        from submitit.helpers import DelayedSubmission

        if self._child is not None:
            self._child.stop()
            self._child.process.wait()
        return DelayedSubmission(Work(self.folder, self.devices, self.gpus))


def _wait_until_free(folder: Path) -> None:
    """Until no other process has the folder: one whose machine was lost may end later than that is known."""
    while (held := at_work(folder)) or (held is None and time.time() - _changed(folder) < STILL):
        time.sleep(PAUSE)


def _changed(folder: Path) -> float:
    """When anything in it was written last."""
    newest = folder.stat().st_mtime
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # a scratch file that is gone
            newest = max(newest, path.stat().st_mtime)
    return newest
