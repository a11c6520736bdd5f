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

PAUSE = 0.2  # seconds between two looks
STILL = 120  # seconds without a change in a folder, after which who has it is gone where locks cannot tell
INTERRUPTED = (130, 143, -signal.SIGINT, -signal.SIGTERM)  # exit codes of a run that was told to stop
PASSED_ON = ("JAX_", "XLA_", "FEDTP_", "PYTHONPATH")  # of the environment, wherever the work is done


class Ended(NamedTuple):
    """How it has ended: exit code, None if it was lost or told to stop; the lines of its standard error."""

    code: int | None
    lines: list[str]


class Child:
    """The process, in a group of its own, which the terminal's Ctrl-C does not reach."""

    def __init__(self, folder: Path, environment: Mapping[str, str], where: Path | None = None) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (open while the child is)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fedtp_jax", "resume", str(folder), "--quiet"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            process_group=0,
            cwd=where,
            env={**environment, PARENT: str(os.getpid())},
        )

    def stop(self) -> None:
        """Ask it to end after its round; asked once more it ends at once."""
        self.process.terminate()

    def ended(self) -> Ended | None:
        """None while it is at work."""
        code = self.process.poll()
        if code is None:
            return None
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        self._errors.close()
        return Ended(code, lines)


class Work:
    """A child for a machine elsewhere, to which this is sent and where it is called.

    It is done in the folder, and with the JAX settings, of who sends it.

    Args:
      folder: of the combination, under the same name there.
      devices: CPU devices that its configuration asks for, at least.
      gpus: how many it has, or the share of one.
      linger: seconds to wait after a SIGTERM for the end that its sender then sees to.
    """

    def __init__(self, folder: Path, devices: int, gpus: float, linger: float = 0.0) -> None:
        self.folder, self.devices, self.gpus, self.linger = folder.absolute(), devices, gpus, linger
        self._where = Path.cwd()
        self._given = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
        self._child: Child | None = None
        self._told = False

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_child": None, "_told": False}

    def __call__(self) -> Ended:
        """Do it, once nobody else is at work on it. SIGTERM and KeyboardInterrupt stop it after its round."""
        _wait_until_free(self.folder)
        sharing = max(1, round(1 / self.gpus)) if self.gpus else 1
        os.environ.update(self._given)
        where = self._where if self._where.is_dir() else None
        child = self._child = Child(self.folder, child_environment(sharing, self.devices), where)
        heard = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGTERM, self._stop) if heard else None
        try:
            ended = self._wait(child)
        finally:
            if heard:
                signal.signal(signal.SIGTERM, before)
        for line in ended.lines:
            print(line, file=sys.stderr)  # for the log of who has it done
        if ended.code not in INTERRUPTED:
            return ended
        if self._told:
            time.sleep(self.linger)
        return Ended(None, ["it was told to stop"])

    def _stop(self, *_: Any) -> None:
        self._told = True
        if self._child is not None:
            self._child.stop()

    @staticmethod
    def _wait(child: Child) -> Ended:
        """In short looks: an interrupt comes between them, while one call would wait to the end."""
        while True:
            try:
                while (ended := child.ended()) is None:
                    time.sleep(PAUSE)
                return ended
            except KeyboardInterrupt:
                child.stop()

    def checkpoint(self) -> Any:
        """What goes on in its place: called before a time limit, by submitit, once the round is saved.

        It may have interrupted a look at the child, whose lock it must then not ask for: hence `waitid`. A
        signal that comes twice asks the child once.
        """
        from submitit.helpers import DelayedSubmission

        if self._child is not None:
            if not self._told:
                self._stop()
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self._child.process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(self)


def _wait_until_free(folder: Path) -> None:
    """Until no other process has the folder: one whose machine was lost may end later than that is known."""
    while (held := at_work(folder)) or (held is None and time.time() - _changed(folder) < STILL):
        time.sleep(1)


def _changed(folder: Path) -> float:
    """When anything in it was written last."""
    newest = folder.stat().st_mtime
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # a scratch file that is gone
            newest = max(newest, path.stat().st_mtime)
    return newest
