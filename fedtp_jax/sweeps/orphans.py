"""A sweep's processes end with it, however it ends."""

import os
import signal
import threading
import time

PARENT = "FEDTP_JAX_PARENT"  # pid of the sweep, in its processes' environment
PAUSE = 0.5  # seconds between two looks


def end_with_parent() -> None:
    """If a sweep has started this process, stop it after its round once the sweep is no more."""
    parent = os.environ.pop(PARENT, "")
    if parent.isdecimal():
        threading.Thread(target=_watch, args=(int(parent),), name="orphan", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PAUSE)
    os.kill(os.getpid(), signal.SIGTERM)
