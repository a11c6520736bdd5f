"""A result as `fedtp run` prints it, in words or as JSON."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedtp_jax.config import name_of
from fedtp_jax.config.metrics import HEADLINES, columns_of, headline_of, measure_names, told
from fedtp_jax.core.counted import count_of
from fedtp_jax.evaluation.choice import best_evaluation
from fedtp_jax.results.notes import choice_notes, clock_note, privacy_note, untrained_note
from fedtp_jax.results.reached import Reached, evaluated_rounds, headline
from fedtp_jax.results.result import Result


def result_in_words(result: Result) -> str:
    """Two lines: the headline by example, over clients; two of the adapted; further measures, and notes."""
    a, b = headline(result), _adapted(result)
    lines = [
        f"test {a.words} {a.told('last')} after round {a['round']}{_several(a)}",
        _over_clients(a, a.measure),
    ]
    if b:
        lines += [
            f"adapted: test {a.words} {b.told('last')}{_several(b)}",
            f"adapted {_over_clients(b, b.measure)}",
        ]
    about = result.config, result.history
    notes = [privacy_note(*about), untrained_note(result.history), *choice_notes(*about)]
    if timed := clock_note(result.history):
        notes.append(f"virtual time {timed}")
    return "\n".join([*lines, *_further_measures(result), *filter(None, notes)])


def _further_measures(result: Result) -> list[str]:
    """A line for each of evaluation.metrics beside the headline, on test shards."""
    words, lines = {"test": "test ", "adapted": "adapted: test "}, []
    for row in result.measures.to_dict("records"):
        name, test = row["measure"], row["test"]
        if test in words and name not in HEADLINES.values():
            lines.append(f"{words[test]}{name} {told(name, row['pooled'])}; {_over_clients(row, name)}")
    return lines


def _several(a: Reached) -> str:
    words = f"; {a.told('mean')} ± {a.told('std')} over the last {a['evaluations']} evaluations"
    return words if a["evaluations"] > 1 else ""


def _over_clients(a: Mapping[Any, Any], measure: str) -> str:
    spread = f"mean {told(measure, a['client_mean'])} ± {told(measure, a['client_std'])}"
    return f"clients: {spread}, worst decile {told(measure, a['worst_decile'])}"


def _adapted(result: Result) -> Reached | None:
    return headline(result, "adapted") if result.config.evaluation.adapt.asked_for else None


def several_in_words(results: Sequence[Result]) -> str:
    """A line for each seed, and mean ± std over the seeds (sample std, none for a single seed)."""
    lines, adapted = [], [b for result in results if (b := _adapted(result))]
    for result in results:
        a, b = headline(result), _adapted(result)
        lines.append(
            f"seed {result.config.seed}: test {a.words} {a.told('mean')} over the last "
            f"{count_of(int(a['evaluations']), 'evaluation')}, worst decile {a.told('worst_decile')}"
            + (f"; adapted {b.told('mean')}, {b.told('worst_decile')}" if b else "")
        )
    reached = [headline(result) for result in results]
    whole = f"test {reached[0].words} {_over_seeds(reached)}"
    then = f"; adapted {_over_seeds(adapted)}" if adapted else ""
    return "\n".join([*lines, f"{whole}{then} over {count_of(len(results), 'seed')}"])


def _over_seeds(reached: Sequence[Reached]) -> str:
    measure, means = reached[0].measure, np.array([a["mean"] for a in reached])
    spread = f" ± {told(measure, means.std(ddof=1))}" if len(means) > 1 else ""
    return told(measure, means.mean()) + spread


def missing_in_words(results: Sequence[Result], folder: Path, seeds: bool) -> str:
    """What could not be written in `folder` and how to get it; empty if everything is there."""
    names = [
        f"seed-{result.config.seed}/{name}" if seeds else name
        for result in results
        for name in result.missing
    ]
    if not names:
        return ""
    return f"{folder}: could not write {', '.join(names)}; free space, then: fedtp resume {folder}"


def result_as_json(result: Result, folder: Path) -> dict[str, Any]:
    """Plain JSON values; None for what is not finite."""
    reached = headline(result)
    test = {f"test_{name}" if name != "round" else name: v for name, v in reached.items()}
    adapted = {f"adapted_{name}": v for name, v in (result.adapted or {}).items() if name != "round"}
    summary = {
        "folder": str(folder),
        "method": name_of(result.config.method),
        "data": name_of(result.config.data),
        "seed": result.config.seed,
        "measure": reached.measure,
        **test,
        **adapted,
        **_validated(result),
        **_measured(result),
        **_timed(result),
        "excluded_uploads": int(result.history["excluded"].sum()),
        **{f"compiled_{name}": value for name, value in result.compiled.items()},
        "missing": list(result.missing),
    }
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in summary.items()
    }


def _measured(result: Result) -> dict[str, float]:
    """The columns of metrics.csv of further measures, at the last evaluation."""
    last = evaluated_rounds(result.history).iloc[-1]
    tests, names = result.measures["test"].unique(), measure_names(result.config.evaluation.metrics)
    columns = [f"{test}_{column}" for test in tests for name in names for column in columns_of(name)]
    return {column: float(last[column]) for column in columns}


def _timed(result: Result) -> dict[str, float]:
    """Seconds of the whole run by the virtual clock; nothing without one."""
    times = result.history.get("virtual_time")
    return {} if times is None else {"virtual_time": float(times.iloc[-1])}


def _validated(result: Result) -> dict[str, Any]:
    """The last evaluation on other shards than the test ones, and the best round, as far as there are any."""
    columns = [f"{test}_{headline_of(result.history.columns)}" for test in ("val", "fit")]
    last = evaluated_rounds(result.history).iloc[-1]
    found: dict[str, Any] = {column: float(last[column]) for column in columns if column in last}
    if metric := result.config.checkpoint.best:
        best = best_evaluation(result.history.to_dict("records"), metric)
        found |= {"best_round": best[0]} if best else {}
    return found
