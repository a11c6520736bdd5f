"""Measurements in processes of their own, each of which tells its peak memory."""

import json
import resource
import subprocess
import sys
from typing import Any


def measure_apart(module: str, *arguments: object) -> dict[str, Any]:
    """What `python -m module arguments` prints as its last line, a JSON object."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with code {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def peak_megabytes() -> int:
    """The most memory that this process ever held, MB (10^6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6)
