"""What `fedtp watch` says of runs, in words and as JSON; the terminal and the page show the same."""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from fedtp_jax.cli.units import duration
from fedtp_jax.config.metrics import WORDS, columns_of, measure_of, told
from fedtp_jax.core.counted import count_of
from fedtp_jax.runs.watched import State, Watched
from fedtp_jax.storage.run_folder import read_order
from fedtp_jax.sweeps.watched_runs import WatchedRuns

UNKNOWN = "\N{EN DASH}"
TESTS = {"test": "test", "adapted": "adapted: test", "val": "validation"}
ORDER: tuple[State, ...] = "finished", "running", "unknown", "stopped", "waiting"
STATES = {"running": "at work", "unknown": "perhaps at work", "waiting": "not begun"}  # others as they are
GOING = "running", "unknown"
MEASURED = "test_", "adapted_", "val_", "honest_", "attack_", "epsilon", "train_loss"  # columns' beginnings


def lines_of(run: Watched) -> list[tuple[str, str]]:
    """(what, words) of a run, a line for each."""
    measure, loss = run.headline, run.history["train_loss"].iloc[-1] if len(run.history) else math.nan
    lines = [("run", f"{run.folder}: {title_of(run)}"), ("state", state_of(run)), ("rounds", rounds_of(run))]
    if not math.isnan(run.seconds):
        left = f"; about {duration(run.left)} left" if run.state in GOING else ""
        lines.append(("time", f"{duration(run.seconds)} a round, evaluations included{left}"))
    for test, words in TESTS.items():
        pooled, *over = (f"{test}_{column}" for column in columns_of(measure))
        if not math.isnan(value := run.last(pooled)):
            mean, std, worst = (told(measure, run.last(column)) for column in over)
            after = f"after round {int(run.last('round'))}"
            clients = f"clients: mean {mean} ± {std}, worst decile {worst}"
            lines.append((f"{words} {WORDS[measure]}", f"{told(measure, value)} {after}; {clients}"))
    if not math.isnan(loss):
        lines.append(("train loss", f"{loss:.4f}"))
    return lines + [("note", note) for note in run.notes]


def title_of(run: Watched) -> str:
    return f"{run.method} on {run.data}" if run.method else "not begun"


def rounds_of(run: Watched) -> str:
    return f"{run.done:,} of {run.planned:,}" if run.planned else UNKNOWN


def state_of(run: Watched) -> str:
    """Whether it goes on, by whom, and what to do where it does not."""
    by = run.holder
    who = f"pid {by.pid} on {by.host}, since {by.since}" if by else "by whom is not known"
    ago = "" if math.isnan(run.written) else f"; last round {duration(max(time.time() - run.written, 0))} ago"
    if run.state == "running":
        return f"at work ({who}){ago}"
    if run.state == "unknown":
        return f"cannot be seen from here ({who}){ago}"
    if run.state == "waiting":
        return "not begun"
    if run.state == "stopped":
        return f"stopped: no process is at work on it; go on with: fedtp resume {run.folder}"
    early = f" after round {run.done:,}, as it was asked to" if run.done < run.planned else ""
    lost = "" if (run.folder / "report.html").is_file() else "; its report is written by: fedtp resume "
    return f"finished{early}{lost and lost + str(run.folder)}"


def line_of(run: Watched, seen: WatchedRuns) -> str:
    """What there is to say of a run when it is evaluated, and when its state changes."""
    name = "" if seen.single else f"{run.folder.relative_to(seen.folder)}  "
    if run.state not in GOING:
        return f"{name}{state_of(run)}"
    if not len(run.evaluated):
        return f"{name}at work on {count_of(run.planned, 'round')}, not evaluated yet"
    measured = told(_measure(seen.column), run.last(seen.column))
    done = f"round {int(run.last('round')):,}/{run.planned:,}"
    return f"{name}{done}  {seen.column.replace('_', ' ')} {measured}"


def sum_of(seen: WatchedRuns) -> str:
    """All runs in a line."""
    left = "" if math.isnan(seen.left) else f"; about {duration(seen.left)} left"
    return f"{_counted(seen.runs)}{left}"


def rest_of(seen: WatchedRuns, kept: Sequence[Watched]) -> str:
    """The runs that are not among those `kept`."""
    shown = {run.folder for run in kept}
    return f"and {_counted([run for run in seen.runs if run.folder not in shown])}"


def _counted(runs: Sequence[Watched]) -> str:
    counts = Counter(run.state for run in runs)
    states = [f"{counts[state]:,} {STATES.get(state, state)}" for state in ORDER if counts[state]]
    return f"{count_of(len(runs), 'run')}: {', '.join(states)}"


def ending_of(seen: WatchedRuns) -> str:
    """What to do about runs that nobody goes on with."""
    if seen.single:
        return state_of(seen.runs[0])
    how = "the sweep's command goes on" if read_order(seen.folder).combinations else _resumed(seen)
    return f"stopped: no process is at work on {seen.folder} ({sum_of(seen)}); {how}"


def _resumed(seen: WatchedRuns) -> str:
    folder = seen.folder if (seen.folder / "seeds.json").is_file() else "FOLDER of each"
    return f"go on with: fedtp resume {folder}"


def _measure(column: str) -> str:
    """What a column of metrics.csv is of."""
    return measure_of(column.partition("_")[2])


def board_of(seen: WatchedRuns, some: Sequence[Watched] | None = None) -> list[dict[str, str]]:
    """{column: cell} of each run, or of some; a column for excluded uploads where there are any."""
    measure, lost = _measure(seen.column), any(map(excluded, seen.runs))
    return [
        {
            "run": str(run.folder.relative_to(seen.folder)),
            "rounds": rounds_of(run),
            seen.column.replace("_", " "): _or_unknown(run.last(seen.column), lambda v: told(measure, v)),
            "a round": _or_unknown(run.seconds, duration),
            "left": _or_unknown(run.left if run.state in GOING else math.nan, duration),
            **({"excluded": f"{excluded(run):,}"} if lost else {}),
            "state": STATES.get(run.state, run.state),
        }
        for run in (seen.runs if some is None else some)
    ]


def _or_unknown(value: float, words: Callable[[float], str]) -> str:
    return UNKNOWN if math.isnan(value) else words(value)


def excluded(run: Watched) -> int:
    """How many uploads were left out, as they were not finite."""
    return int(run.history["excluded"].sum()) if len(run.history) else 0


def as_json(seen: WatchedRuns) -> dict[str, Any]:
    """Plain JSON values; None for what is not known or not finite."""
    if seen.single:
        return _run_as_json(seen.runs[0])
    runs = [_run_as_json(run) for run in seen.runs]
    return {
        "folder": str(seen.folder),
        "at_work": seen.goes_on,
        "select": seen.select,
        "seconds_left": _finite(seen.left),
        "runs": runs,
    }


def _run_as_json(run: Watched) -> dict[str, Any]:
    last = run.evaluated.iloc[-1].to_dict() if len(run.evaluated) else {}
    measured = {str(name): value for name, value in last.items() if str(name).startswith(MEASURED)}
    values = {
        "folder": str(run.folder),
        "state": run.state,
        **(run.holder._asdict() if run.holder and run.state in GOING else {}),
        "method": run.method,
        "data": run.data,
        "round": run.done,
        "rounds": run.planned,
        "seconds_a_round": run.seconds,
        "seconds_left": run.left if run.state in GOING else None,
        "excluded_uploads": excluded(run),
        "measure": run.headline,
        "evaluated_round": int(last["round"]) if last else None,
        **measured,
    }
    return {name: _finite(value) for name, value in values.items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
