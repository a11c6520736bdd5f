"""What is said below a comparison: what stands behind its numbers, and what its marks mean."""

from collections.abc import Mapping, Sequence

from fedtp_jax.comparison.compared_run import ComparedRun, is_mean, measure_of
from fedtp_jax.comparison.crosstab import CrossTab, Place
from fedtp_jax.comparison.sheet import TIED, Cell
from fedtp_jax.comparison.significance import LEVEL
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.identity import UNKNOWN


def facts(layout: CrossTab, cells: Mapping[Place, Cell], metric: str) -> list[str]:
    """How many seeds, clients and evaluations stand behind the numbers."""
    compared = [run for cell in layout.cells.values() for run in cell]
    seeds = _range([cell.seeds for cell in cells.values()], "seed")
    if any(cell.seeds > 1 for cell in cells.values()):
        several = [runs for runs in layout.cells.values() if len(runs) > 1]
        seeds += f" on {_range([len({run.fingerprint for run in runs}) for runs in several], 'partition')}"
    spread = "Mean" if all(cell.seeds == 1 for cell in cells.values()) else "Mean ± sample std"
    clients = _range([int(o.evaluated["clients_tested"].iloc[-1]) for o in compared], "client")
    window = _range([run.window for run in compared], "evaluation")
    of = f"each run's mean over its last {window}" if is_mean(metric) else "each run's last evaluation"
    return [f"{spread} over {seeds} of {of}, never of its best round; {clients}."]


def excluded(runs: Sequence[ComparedRun]) -> list[str]:
    """Which runs were trained without uploads of some clients."""
    told = [f"{run.where} ({run.excluded})" for run in runs if run.excluded]
    return [f"Uploads that were not finite, and were left out: {'; '.join(told)}."] if told else []


def unknown(runs: Sequence[ComparedRun]) -> list[str]:
    """Which runs are in cells of their own because nobody can tell what they share with others."""
    told = []
    for part in dict.fromkeys(part for run in runs for part in run.identities):
        found = {run.identities[part]: run.where for run in runs if part in run.identities}
        if len(found) > 1:
            words = {what: what.rpartition(")")[0] + ")" for what in found if what.startswith(UNKNOWN)}
            told += [f"{found[what]}: {part} {word}" for what, word in words.items()]
    return [f"Kept apart, not known to be alike: {'; '.join(told)}."] if told else []


def _range(numbers: Sequence[int], what: str) -> str:
    low, high = min(numbers), max(numbers)
    return count_of(high, what) if low == high else f"{low} to {count_of(high, what)}"


def test_notes(
    cells: Mapping[Place, Cell],
    untested: Mapping[str, Sequence[str]],
    metric: str,
    runs: Sequence[ComparedRun],
) -> list[str]:
    """What the marks mean, and which cells could not be tested."""
    notes = []
    if any(cell.p_value is not None for cell in cells.values()):
        several = is_mean(metric) and all(run.has_means(metric) for run in runs)
        when = "in the same evaluations" if several else "at the last evaluation"
        of = "accuracies" if measure_of(metric) == "accuracy" else "values"
        notes.append(
            f"Bold: the best of its column. {TIED}: not significantly worse than the best, by a paired "
            f"two-sided Wilcoxon signed-rank test over the clients' {of} {when}, those of seeds on one "
            f"partition averaged (p ≥ {LEVEL} after Holm's correction within the column), and not further "
            "behind than these clients differ; it says nothing of other seeds."
        )
    return notes + [f"Not tested, {reason}: {'; '.join(names)}." for reason, names in untested.items()]
