"""What the rounds of a run lost, in words."""

from pathlib import Path
from typing import TYPE_CHECKING

from fedtp_jax.config import SimulationConfig
from fedtp_jax.config.metrics import TIME_TO_ACCURACY, WORDS, headline_of, measure_of, shown, told
from fedtp_jax.core.counted import count_of
from fedtp_jax.results.reached import evaluated_rounds

if TYPE_CHECKING:
    import pandas as pd


def participation_notes(history: "pd.DataFrame") -> list[str]:
    """What the rounds lost: clients that did not return, did less, or returned what is no number."""
    total = history[["drawn", "clients", "stragglers", "void"]].sum().astype(int)
    missing, notes = total["drawn"] - total["clients"], []
    if missing:
        notes.append(f"{missing:,} of {total['drawn']:,} clients that were asked did not return in time.")
    if total["stragglers"]:
        notes.append(
            f"{total['stragglers']:,} of those that returned did only part of their local steps"
            f"{_share(history)}."
        )
    if total["void"]:
        void = count_of(int(total["void"]), "round was", "rounds were")
        notes.append(f"{void} void: too few clients returned.")
    if lost := excluded_uploads(history):
        notes.append(f"Not finite and left out: {lost}; clients.csv says whose.")
    return notes


def _share(history: "pd.DataFrame") -> str:
    """What part, on the mean over the stragglers; version 0.1.0 did not say."""
    if "share_done" not in history:
        return ""
    left = ((1 - history["share_done"]) * history["clients"]).sum()
    return f", {1 - left / history['stragglers'].sum():.0%} of them on the mean"


def excluded_uploads(history: "pd.DataFrame") -> str:
    """How many uploads were left out as they were not finite, of whom and when; "" if none was."""
    uploads, rounds = int(history["excluded"].sum()), int((history["excluded"] > 0).sum())
    clients = len(set(" ".join(history["excluded_clients"]).split()))
    if not uploads:
        return ""
    return f"{count_of(uploads, 'upload')} of {count_of(clients, 'client')} in {count_of(rounds, 'round')}"


def excluded_warning(seed: int, history: "pd.DataFrame", folder: Path | None) -> str:
    """What was trained without some clients looks like any other result; "" where all are in it."""
    if not (lost := excluded_uploads(history)):
        return ""
    files = f", metrics.csv and clients.csv of {folder}" if folder else ""
    return (
        f"seed {seed}: {lost} not finite, left out (excluded_clients in Result.history, excluded_rounds in "
        f"Result.clients{files}); lower training.learning_rate, or end such runs with "
        "training.on_nonfinite=stop"
    )


def untrained_note(history: "pd.DataFrame") -> str:
    """How the clients that never trained do at the last evaluation, "" where all have."""
    import pandas as pd

    last, measure = evaluated_rounds(history).tail(1), headline_of(history.columns)
    if "clients_untrained" not in last or not last["clients_untrained"].any():  # version 0.1.0 did not say
        return ""
    row = last.iloc[0]
    trained, untrained = row[f"test_{measure}_trained"], row[f"test_{measure}_untrained"]
    those = "" if pd.isna(trained) else f", those that have {told(measure, trained)}"
    of = f"of {int(row['clients_tested']):,} clients"
    who = count_of(int(row["clients_untrained"]), f"{of} has never trained", f"{of} have never trained")
    return f"{who}: test {WORDS[measure]} {told(measure, untrained)}{those}"


def privacy_note(config: SimulationConfig, history: "pd.DataFrame") -> str:
    """What a private run has spent at the last evaluation, "" of one that is not private."""
    if "epsilon" not in history or not len(spent := history["epsilon"].dropna()):
        return ""
    return f"differential privacy of clients: epsilon {spent.iloc[-1]:.3f} at delta {config.privacy.delta:g}"


def clock_note(history: "pd.DataFrame") -> str:
    """What the rounds would have taken by the virtual clock, "" without one."""
    if "virtual_time" not in history:
        return ""
    whole, mean = history["virtual_time"].iloc[-1], history["virtual_seconds"].mean()
    return f"{shown(TIME_TO_ACCURACY, whole)} s, a round {shown(TIME_TO_ACCURACY, mean)} s in the mean"


def choice_notes(config: SimulationConfig, history: "pd.DataFrame") -> list[str]:
    """What validation shards have chosen: the end of the run, and the round whose state is kept."""
    from fedtp_jax.evaluation.choice import best_evaluation  # loads JAX, which the other notes do not need

    rows, stop, notes = history.to_dict("records"), config.training.stop, []
    ended = best_evaluation(rows, stop.metric) if stop.patience else None
    if ended and ended[1] >= (stop.patience or 0):
        last = f"ended after round {len(history)} of {config.training.rounds}"
        before = f"{count_of(ended[1], 'evaluation')} before"
        notes.append(f"{last}: {stop.metric} was best after round {ended[0]}, {before}")
    metric = config.checkpoint.best
    if metric and (best := best_evaluation(rows, metric)):
        row = history[history["round"] == best[0]].iloc[0]
        chosen = told(measure_of(metric.removeprefix("val_")), row[metric])
        measure = headline_of(history.columns)
        reached = told(measure, row[f"test_{measure}"])
        notes.append(f"best {metric} {chosen} after round {best[0]}: test {WORDS[measure]} {reached}")
    return notes
