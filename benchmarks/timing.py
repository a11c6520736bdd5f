"""Timing that a busy machine cannot bend in anybody's favour: the cases take turns."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

Name = TypeVar("Name")


def seconds_of(run: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call, which must wait for its own result."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def take_turns(cases: Mapping[Name, Callable[[], Any]], repeats: int) -> dict[Name, float]:
    """Median seconds of each case over `repeats` turns; a first one, which compiles, does not count."""
    seconds: dict[Name, list[float]] = {name: [] for name in cases}
    for turn in range(repeats + 1):
        for name, run in cases.items():
            seconds[name].append(seconds_of(run))
            print(f"turn {turn} of {repeats}, {name}: {seconds[name][-1]:.3f} s", flush=True)
    return {name: float(np.median(times[1:])) for name, times in seconds.items()}
