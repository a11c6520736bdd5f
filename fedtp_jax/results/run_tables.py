"""A run's tables: the rows of metrics.csv and timing.csv, clients.csv, and the report's headline."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedtp_jax.config import name_of
from fedtp_jax.config.metrics import columns_of
from fedtp_jax.config.plain import to_yaml
from fedtp_jax.evaluation.metrics import Accuracy, Measured, Sums
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.results.notes import choice_notes, participation_notes, untrained_note
from fedtp_jax.results.pictures import embedding_figure
from fedtp_jax.results.result import Result
from fedtp_jax.simulation.round_result import RoundResult
from fedtp_jax.storage.csv_log import csv_rows
from fedtp_jax.storage.environment import describe_environment
from fedtp_jax.storage.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

ON_TEST_SHARDS = "test", "adapted"  # evaluators
MOST_EMBEDDINGS = 10_000  # clients in the report's picture of embeddings


def history_row(
    round: int,
    result: RoundResult,
    measured: Measured | None,
    adapts: bool = False,
    validates: bool = False,
    measures: Sequence[str] = (),
) -> dict[str, Any]:
    """A row of metrics.csv; nothing in it depends on the clock, so that equal runs give equal files.

    `adapts`, `validates`: whether clients adapt before a second test, and are evaluated on validation shards,
    with columns of their own. `measures`: names of those beside accuracy.
    """
    a = measured and measured.test
    return {
        "round": round,
        "drawn": result.drawn,
        "clients": result.clients,
        "stragglers": result.stragglers,
        "share_done": None if np.isnan(result.share_done) else result.share_done,
        "void": int(result.void),
        "excluded": len(result.excluded),
        "excluded_clients": " ".join(map(str, result.excluded)),
        "examples": result.examples,
        "bytes_down": result.bytes_down,
        "bytes_up": result.bytes_up,
        "train_loss": None if result.void else result.train_loss,
        **_reached("test", a, measures),
        "clients_tested": a and a.clients,
        "clients_without_test": a and a.clients_without_test,
        "clients_untrained": a and a.clients_untrained,
        "test_accuracy_trained": a and a.trained,
        "test_accuracy_untrained": a.untrained if a and a.clients_untrained else None,
        **(_reached("adapted", a and a.adapted, measures) if adapts else {}),
        **(_reached("val", measured and measured.validation, measures) if validates else {}),
    }


def _reached(test: str, a: Accuracy | None, measures: Sequence[str]) -> dict[str, Any]:
    """The columns of one test."""
    others: dict[str, Any] = {}
    for name in measures:
        columns = [f"{test}_{column}" for column in columns_of(name)]
        others |= zip(columns, a.measures[name] if a else [None] * len(columns), strict=True)
    return {
        f"{test}_accuracy": a and a.pooled,
        f"{test}_client_mean": a and a.client_mean,
        f"{test}_client_std": a and a.client_std,
        f"{test}_worst_decile": a and a.worst_decile,
        f"{test}_loss": a and a.loss,
        **others,
    }


def timing_row(round: int, result: RoundResult, train: float, evaluation: float) -> dict[str, Any]:
    """A row of timing.csv, in seconds; `host_seconds` are spent beside the devices' work."""
    return {
        "round": round,
        "train_seconds": train,
        "host_seconds": result.host_seconds,
        "evaluation_seconds": evaluation,
        "examples_per_second": result.examples / train,
        "clients_per_second": result.clients / train,
        "occupancy": None if result.void else result.occupancy,
    }


def clients_table(
    sums: Mapping[str, Sums],
    window: Sequence[np.ndarray],
    partition: Partition,
    history: Sequence[Mapping[str, Any]],
    trained: np.ndarray,
    names: Sequence[str] = (),
) -> "pd.DataFrame":
    """clients.csv: a row per client, NaN where a client was not tested; `names` [N] or none.

    `sums`: by the names of the evaluators. `window`: accuracies of the last evaluations, [N] by each of
    ON_TEST_SHARDS that is in `sums`. `history`: the rows of metrics.csv until now. `trained`: rounds [N] in
    which each client has.
    """
    import pandas as pd

    excluded = " ".join(row["excluded_clients"] for row in history).split()
    tests = [name for name in ON_TEST_SHARDS if name in sums]
    means = dict(zip(tests, np.mean(window, axis=0).reshape(-1, partition.num_clients), strict=True))
    test = _measured("test", sums["test"])
    table = {
        "client": np.arange(partition.num_clients),
        **({"name": list(names)} if names else {}),
        "train_examples": partition.train.sizes,
        "test_examples": partition.test.sizes,
        "test_correct": test["test_correct"],
        "test_accuracy": test["test_accuracy"],
        "test_accuracy_mean": means["test"],
        "test_loss": test["test_loss"],
        **_others("test", sums["test"]),
        "trained_rounds": trained.astype(np.int64),
        "excluded_rounds": np.bincount(np.array(excluded, int), minlength=partition.num_clients),
    }
    if "adapted" in sums:
        adapted = _measured("adapted", sums["adapted"])
        table |= {
            "adapted_accuracy": adapted["adapted_accuracy"],
            "adapted_accuracy_mean": means["adapted"],
            "adapted_loss": adapted["adapted_loss"],
            **_others("adapted", sums["adapted"]),
        }
    if "validation" in sums and partition.validation is not None:
        validation = sums["validation"]
        table |= {"val_examples": partition.validation.sizes, **_measured("val", validation)}
        table |= _others("val", validation)
    return pd.DataFrame(table)


def rows_of_evaluation(table: "pd.DataFrame", round: int, clients: np.ndarray) -> "pd.DataFrame":
    """Rows of clients_history.csv: of the clients' table, what `clients` [K] reached in this round alone."""
    tests, others = tuple(f"{test}_" for test in (*ON_TEST_SHARDS, "val")), ("_examples", "_accuracy_mean")
    measured = [name for name in map(str, table) if name.startswith(tests) and not name.endswith(others)]
    rows = table.loc[clients, ["client", *measured]].reset_index(drop=True)
    rows.insert(0, "round", round)
    return rows


def _others(test: str, sums: Sums) -> dict[str, np.ndarray]:
    """Columns [N] of the measures beside accuracy."""
    return {f"{test}_{name}": values.clients for name, values in sums.measures.items()}


def _measured(test: str, sums: Sums) -> dict[str, np.ndarray]:
    """Columns [N] of what was measured by one test."""
    correct, loss, examples = (np.asarray(part) for part in sums[:3])
    tested = np.where(examples > 0, examples, np.nan)
    return {
        # a window of text is right in part
        f"{test}_correct": correct.astype(np.int64) if (correct % 1 == 0).all() else correct,
        f"{test}_accuracy": correct / tested,
        f"{test}_loss": loss / tested,
    }


def report_run(
    folder: RunFolder, result: Result, counts: np.ndarray, class_names: Sequence[str] = ()
) -> None:
    """Write report.html; counts [N, classes] are the clients' training examples."""
    import pandas as pd

    from fedtp_jax.results.report import write_report  # matplotlib: not before it is needed

    a, config = result.accuracy, result.config
    timing = pd.DataFrame(csv_rows(folder.timing.content()))
    headline = [
        ("Method", name_of(config.method)),
        ("Data", f"{name_of(config.data)}, {result.data_spec.num_clients} clients"),
        ("Test accuracy, last evaluation", f"{a['last']:.2%} (round {a['round']})"),
        (f"Test accuracy, last {a['evaluations']} evaluations", f"{a['mean']:.2%} ± {a['std']:.2%}"),
        ("Client mean ± std", f"{a['client_mean']:.2%} ± {a['client_std']:.2%}"),
        ("Worst decile of clients", f"{a['worst_decile']:.2%}"),
        ("Partition fingerprint", result.data_spec.partition),
    ]
    if b := result.adapted:
        headline[6:6] = [
            ("Adapted, last evaluation", f"{b['last']:.2%}"),
            (f"Adapted, last {b['evaluations']} evaluations", f"{b['mean']:.2%} ± {b['std']:.2%}"),
            ("Adapted, client mean ± std", f"{b['client_mean']:.2%} ± {b['client_std']:.2%}"),
            ("Adapted, worst decile of clients", f"{b['worst_decile']:.2%}"),
        ]
    if len(timing):
        headline += [
            ("Median time of a round", f"{timing['train_seconds'].median():.3f} s"),
            ("Examples per second (median)", f"{timing['examples_per_second'].median():,.0f}"),
            ("Lane occupancy (mean)", f"{timing['occupancy'].mean():.3f}"),
        ]
    untested = int((result.partition.test.sizes == 0).sum())
    notes = participation_notes(result.history)
    if started := result.data_spec.init:
        notes.append(f"It started from variables that it was given (fingerprint {started}).")
    if untested:
        notes.append(f"{untested:,} clients hold no test examples and are not part of any accuracy.")
    if held_out := config.training.held_out:
        notes.append(f"{held_out:,} clients were held out: they did not train, and are not evaluated.")
    if untrained := untrained_note(result.history):
        notes.append(f"{untrained}.")
    notes += [f"{note[0].upper()}{note[1:]}." for note in choice_notes(config, result.history)]
    if wanted := config.evaluation.clients:
        count, how = (wanted, "drawn once") if isinstance(wanted, int) else (len({*wanted}), "chosen")
        notes.append(f"Accuracies are of {count:,} clients that were {how}.")
    write_report(
        folder.report,
        title=f"{name_of(config.method)} on {name_of(config.data)}",
        config_yaml=to_yaml(config),
        environment=describe_environment(),
        history=result.history,
        clients=result.clients,
        counts=counts,
        class_names=class_names,
        embeddings=embedding_figure(result, counts) if len(counts) <= MOST_EMBEDDINGS else None,
        headline=headline,
        notes=notes,
    )
