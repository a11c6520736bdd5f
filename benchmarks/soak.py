"""A long run: whether memory, files, threads or compiled programs grow with the rounds."""

import gc
import json
import os
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.pictures import panels, style
from benchmarks.processes import measure_apart
from benchmarks.results import Outcome
from fedtp_jax import Progress, simulate
from fedtp_jax.plots.style import BLUE, ORANGE

ROUNDS, EVERY = 2_000, 50
MEASURES = ("memory, MB", "Python objects", "files open", "threads", "programs compiled")
DESCRIPTION = f"""\
{ROUNDS:,} rounds of FedTP on digits with a folder: an evaluation and a checkpoint every {EVERY} rounds, after
each of which the process looks at itself. "memory" is what the process holds of the machine's (resident).
"slope" is that of a straight line through the second half, per 1,000 rounds. By design a run keeps a row of
its history for every round.
"""


def measure(out: Path) -> Outcome:
    """About 3 minutes on 2 cores."""
    samples = pd.DataFrame(measure_apart("benchmarks.soak", ROUNDS, EVERY)["samples"])
    table = growth(samples)
    return Outcome(DESCRIPTION, {"Growth": table}, _picture(samples))


def growth(samples: pd.DataFrame) -> pd.DataFrame:
    """A row per measure: after a tenth of the rounds, at the end, and the slope in the second half."""
    late = samples[samples["round"] >= samples["round"].max() / 2]
    tenth = samples[samples["round"] <= samples["round"].max() / 10].iloc[-1]
    rows = [
        {
            "measure": name,
            f"round {tenth['round']:.0f}": round(float(tenth[name]), 1),
            f"round {samples['round'].max():.0f}": round(float(samples[name].iloc[-1]), 1),
            "slope per 1,000 rounds": round(1000 * np.polyfit(late["round"], late[name], 1)[0], 2) + 0.0,
        }
        for name in MEASURES
    ]
    return pd.DataFrame(rows)


def _picture(samples: pd.DataFrame) -> Figure:
    figure, axes = panels(2)
    for one, name, colour in zip(axes, ("memory, MB", "Python objects"), (BLUE, ORANGE), strict=True):
        style(one, name)
        one.plot(samples["round"], samples[name], color=colour)
        one.set_ylim(bottom=0)
        one.set_xlabel("round")
    return figure


# ----------------------------------------------------------------------------------- a process of its own


def sample(round: int, compiled: int) -> dict[str, float]:
    """What the process holds now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "round": round,
        "memory, MB": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "Python objects": len(gc.get_objects()),
        "files open": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "programs compiled": compiled,
    }


def soak(rounds: int, every: int) -> list[dict[str, float]]:
    """Samples of a run of so many rounds."""
    import jax

    samples, compiled = [], [0]

    def on_event(event: str, duration_secs: float, **_: str | int) -> None:
        compiled[0] += event == "/jax/core/compile/backend_compile_duration"

    def on_round(progress: Progress) -> None:
        if progress.round % every == 0:
            samples.append(sample(progress.round, compiled[0]))

    jax.monitoring.register_event_duration_secs_listener(on_event)
    with tempfile.TemporaryDirectory() as folder:
        simulate(
            partition={"name": "pathological", "clients": 20, "classes_per_client": 2},
            model={"name": "vit", "patch_size": 4, "dim": 16, "depth": 1, "heads": 2, "mlp_dim": 32},
            method={"name": "fedtp", "hypernetwork": {"embedding": 8, "hidden": 16}},
            training={"rounds": rounds, "cohort_size": 5},
            evaluation={"every": every},
            checkpoint={"every": every},
            out=Path(folder) / "run",
            on_round=on_round,
        )
    return samples


if __name__ == "__main__":
    print(json.dumps({"samples": soak(int(sys.argv[1]), int(sys.argv[2]))}))
