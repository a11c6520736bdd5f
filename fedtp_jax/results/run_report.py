"""What a result's report.html says, gathered."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedtp_jax.config import name_of
from fedtp_jax.config.plain import to_yaml
from fedtp_jax.core.counted import count_of
from fedtp_jax.results.notes import (
    choice_notes,
    clock_note,
    participation_notes,
    privacy_note,
    untrained_note,
)
from fedtp_jax.results.pictures import Pictures, embedded_clients
from fedtp_jax.results.reached import Reached, headline
from fedtp_jax.storage.environment import describe_environment

MOST_EMBEDDINGS = 10_000  # clients in the picture of embeddings
WITHOUT_DATA = "It was saved without its data, so who holds which classes is not drawn."


def report_result(
    path: Path, result: Pictures, counts: np.ndarray | None, class_names: Sequence[str] = ()
) -> None:
    """Write report.html.

    Args:
      path: of the file.
      result: a `Result`.
      counts: [N, classes] training examples of each class that each client holds; None: not known.
      class_names: of the classes.
    """
    from fedtp_jax.results.report import write_report  # matplotlib: not before it is needed

    a, config, timing = headline(result), result.config, result.timing
    pairs = [
        ("Method", name_of(config.method)),
        ("Data", f"{name_of(config.data)}, {count_of(result.data_spec.num_clients, 'client')}"),
        (f"Test {a.words}, last evaluation", f"{a.shown('last')} (round {a['round']})"),
        (f"Test {a.words}, {_last(a)}", f"{a.shown('mean')} ± {a.shown('std')}"),
        ("Client mean ± std", f"{a.shown('client_mean')} ± {a.shown('client_std')}"),
        ("Worst decile of clients", a.shown("worst_decile")),
        ("Partition fingerprint", result.data_spec.partition),
    ]
    if config.evaluation.adapt.asked_for:
        b = headline(result, "adapted")
        pairs[6:6] = [
            ("Adapted, last evaluation", b.shown("last")),
            (f"Adapted, {_last(b)}", f"{b.shown('mean')} ± {b.shown('std')}"),
            ("Adapted, client mean ± std", f"{b.shown('client_mean')} ± {b.shown('client_std')}"),
            ("Adapted, worst decile of clients", b.shown("worst_decile")),
        ]
    if config.evaluation.fit:
        pairs.insert(4, (f"Train {a.words}, last evaluation", headline(result, "fit").shown("last")))
    if spent := privacy_note(config, result.history):
        pairs.append(("Spent", spent))
    if timed := clock_note(result.history):
        pairs.append(("Virtual time", timed))
    if len(timing):
        pairs += [
            ("Median time of a round", f"{timing['train_seconds'].median():.3f} s"),
            ("Examples per second (median)", f"{timing['examples_per_second'].median():,.0f}"),
            ("Lane occupancy (mean)", f"{timing['occupancy'].mean():.3f}"),
        ]
    untested = int((result.partition.test.sizes == 0).sum())
    notes = participation_notes(result.history) + [WITHOUT_DATA] * (counts is None)
    if started := result.data_spec.init:
        notes.append(f"It started from variables that it was given (fingerprint {started}).")
    if untested:
        who = count_of(untested, "client holds", "clients hold")
        notes.append(f"{who} no test examples: not part of any test.")
    if held_out := config.training.held_out:
        who = count_of(held_out, "client was", "clients were")
        notes.append(f"{who} held out: neither trained nor evaluated.")
    if untrained := untrained_note(result.history):
        notes.append(f"{untrained}.")
    notes += [f"{note[0].upper()}{note[1:]}." for note in choice_notes(config, result.history)]
    if wanted := config.evaluation.clients:
        count, how = (wanted, "drawn once") if isinstance(wanted, int) else (len({*wanted}), "chosen")
        notes.append(f"Tests are of {count_of(count, 'client that was', 'clients that were')} {how}.")
    write_report(
        path,
        title=f"{name_of(config.method)} on {name_of(config.data)}",
        config_yaml=to_yaml(config),
        environment=describe_environment(),
        history=result.history,
        clients=result.clients,
        clients_history=result.clients_history,
        counts=counts,
        class_names=class_names,
        embedded=embedded_clients(result, counts)
        if counts is not None and len(counts) <= MOST_EMBEDDINGS
        else None,
        headline=pairs,
        notes=notes,
    )


def _last(reached: Reached) -> str:
    """The evaluations that its mean is of."""
    count = reached["evaluations"]
    return "mean of the last evaluation" if count == 1 else f"last {count} evaluations"
