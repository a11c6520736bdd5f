"""From the command to the first finished round, with nothing compiled yet and with all programs kept; the
time of what does no round, and the size of an installation.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.installed import sizes
from benchmarks.pictures import grouped_bars, panels
from benchmarks.results import Outcome

CONFIG = "configs/quickstart.yaml"
REPEATS = 5
DESCRIPTION = f"""\
Seconds from the command `fedtp run {CONFIG}` to its first finished round: *cold* with an empty
compilation cache, *warm* with the programs of an earlier run in it. Medians of {REPEATS} runs in turn.
The parts are of the same calls in a process that looks at the clock: start of Python and imports, data,
tracing and compiling (or reading) the programs, and a round (the second; the first waits for its programs).
*Without a run* has whole processes that do no round, beside a Python that does nothing. *Installed* is the
size on disk of the package with all that it needs, without bytecode and extras; how long its installation
takes is the network's doing, and is not measured.
"""
WITHOUT_A_RUN = {
    "python": ["-c", "pass"],
    "fedtp --help": ["-m", "fedtp_jax", "--help"],
    "import fedtp_jax": ["-c", "import fedtp_jax"],
    "import jax": ["-c", "import jax"],
    "from fedtp_jax import simulate": ["-c", "from fedtp_jax import simulate"],
}

# What `fedtp run` does, with a look at the clock in between: seconds since the command as JSON, then killed.
PARTS = """
import json, sys, time
began, config, out = float(sys.argv[1]), sys.argv[2], sys.argv[3]
import fedtp_jax.cli
from fedtp_jax import load_config, simulate
from fedtp_jax.data.sources import load
from fedtp_jax.engine.compilation_cache import keep_programs
seconds = {"imports": time.time() - began}
keep_programs()
settings = load_config(config)
data = load(settings.data)
seconds["data"] = time.time() - began
def on_round(progress):
    if progress.round == 1:
        seconds["first round"] = time.time() - began
    if progress.round == 2:
        seconds["a round"] = progress.seconds
        print(json.dumps(seconds))
        raise KeyboardInterrupt
simulate(settings, data=data, out=out, on_round=on_round)
"""


def measure(out: Path) -> Outcome:
    """About 3 minutes on 2 cores."""
    runs = []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as cache:
            environment = _environment(Path(cache))
            runs += [{"cache": "cold", "seconds": _command(environment)}]
            runs += [{"cache": "warm", "seconds": _command(environment)}]
        with tempfile.TemporaryDirectory() as cache:
            environment = _environment(Path(cache))
            runs += [{"cache": name, **_parts(environment)} for name in ("cold", "warm")]
    table = pd.DataFrame(runs).groupby("cache").median().round(2).reset_index()
    tables = {"Seconds": table, "Without a run": _without_a_run(), "Installed": sizes()}
    return Outcome(DESCRIPTION, tables, _picture(table))


def _without_a_run() -> pd.DataFrame:
    """Seconds of each process, medians of some in turn."""
    runs = []
    for _ in range(REPEATS):
        for name, arguments in WITHOUT_A_RUN.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
            runs.append({"what": name, "seconds": time.perf_counter() - begin})
    return pd.DataFrame(runs).groupby("what", sort=False).median().round(2).reset_index()


def _picture(table: pd.DataFrame) -> Figure:
    figure, (axes,) = panels(1, width=8.0)
    names = [str(column) for column in table.columns if column != "cache"]
    groups = {row["cache"]: [row[name] for name in names] for _, row in table.iterrows()}
    labels = ["command to\nfirst round" if name == "seconds" else name for name in names]
    grouped_bars(axes, "From the command to the first round", labels, groups, "seconds")
    return figure


def _environment(cache: Path) -> dict[str, str]:
    """That of a user whose cache folder is `cache` and who has told JAX nothing."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    return {**kept, "XDG_CACHE_HOME": str(cache)}


def _command(environment: Mapping[str, str]) -> float:
    """Seconds from the command until the first row of metrics.csv, and the process is ended."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        begin = time.time()
        command = [sys.executable, "-m", "fedtp_jax", "run", CONFIG, "--out", str(out), "--quiet"]
        process = subprocess.Popen(command, env=environment)
        metrics = out / "metrics.csv"
        while not (metrics.exists() and len(metrics.read_bytes().splitlines()) > 1):
            if process.poll() is not None:
                raise RuntimeError(f"fedtp run ended with code {process.returncode} before its first round")
            time.sleep(0.01)
        seconds = time.time() - begin
        process.kill()
        process.wait()
    return seconds


def _parts(environment: Mapping[str, str]) -> dict[str, float]:
    """Seconds of each part, of a process that does what the command does."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", PARTS, str(time.time()), CONFIG, str(Path(folder) / "run")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    if not lines:
        raise RuntimeError(f"no round was finished: {done.stderr}")
    at = json.loads(lines[0])
    return {
        "imports": at["imports"],
        "data": at["data"] - at["imports"],
        "compile": at["first round"] - at["data"] - at["a round"],
        "a round": at["a round"],
    }
