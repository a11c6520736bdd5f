"""A run's tables: the rows of metrics.csv and timing.csv, and clients.csv."""

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedtp_jax.config.metrics import columns_of, headline_of
from fedtp_jax.evaluation.metrics import Measured, Sums, Tested, headline_of_clients
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.simulation.round_result import RoundResult

if TYPE_CHECKING:
    import pandas as pd

ON_TEST_SHARDS = "test", "adapted"  # evaluators


def history_row(
    round: int,
    result: RoundResult,
    measured: Measured | None,
    tests: Sequence[str] = (),
    measures: Sequence[str] = (),
    headline: str = "accuracy",
    earlier: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """A row of metrics.csv; nothing in it is of a clock on the wall: equal runs have equal files.

    `tests`: beside that on test shards, with columns of their own: adapted, val, fit. `measures`: names of
    those beside the headline. `earlier`: the rows before.
    """
    a = measured and measured.test
    reached = functools.partial(_reached, headline, measures)
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
        **_clock_columns(result.virtual_seconds, earlier),
        "train_loss": None if result.void else result.train_loss,
        **reached("test", a),
        "clients_tested": a and a.clients,
        "clients_without_test": a and a.clients_without_test,
        "clients_untrained": a and a.clients_untrained,
        f"test_{headline}_trained": a and a.trained,
        f"test_{headline}_untrained": a.untrained if a and a.clients_untrained else None,
        **{
            name: value
            for test in tests
            for name, value in reached(test, measured and measured.by(test)).items()
        },
    }


def _clock_columns(seconds: float | None, earlier: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the virtual clock says of the round, and since the start; nothing without one."""
    if seconds is None:
        return {}
    before = earlier[-1]["virtual_time"] if earlier else 0.0
    return {"virtual_seconds": seconds, "virtual_time": before + seconds}


def _reached(headline: str, measures: Sequence[str], test: str, a: Tested | None) -> dict[str, Any]:
    """The columns of one test."""

    def columns(name: str, values: Sequence[float]) -> dict[str, Any]:
        names = [f"{test}_{column}" for column in columns_of(name)]
        return dict(zip(names, values, strict=True)) if values else dict.fromkeys(names)

    of_headline = (a.pooled, a.client_mean, a.client_std, a.worst_decile) if a else ()
    found = columns(headline, of_headline) | {f"{test}_loss": a and a.loss}
    for name in measures:
        found |= columns(name, a.measures[name] if a else ())
    return found


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
    adversaries: Sequence[int] | np.ndarray = (),
) -> "pd.DataFrame":
    """clients.csv: a row per client, NaN where a client was not tested; `names` [N] or none.

    `sums`: by the names of the evaluators. `window`: the headline in the last evaluations, [N] by each of
    ON_TEST_SHARDS that is in `sums`. `history`: the rows of metrics.csv until now. `trained`: rounds [N] in
    which each client has. `adversaries`: their ids.
    """
    import pandas as pd

    excluded = " ".join(row["excluded_clients"] for row in history).split()
    tests = [name for name in ON_TEST_SHARDS if name in sums]
    means = dict(zip(tests, np.mean(window, axis=0).reshape(-1, partition.num_clients), strict=True))
    test, headline = _measured("test", sums["test"]), sums["test"].headline
    table = {
        "client": np.arange(partition.num_clients),
        **({"name": list(names)} if names else {}),
        "train_examples": partition.train.sizes,
        "test_examples": partition.test.sizes,
        **({"test_correct": test["test_correct"]} if "test_correct" in test else {}),
        f"test_{headline}": test[f"test_{headline}"],
        f"test_{headline}_mean": means["test"],
        "test_loss": test["test_loss"],
        **_others("test", sums["test"]),
        "trained_rounds": trained.astype(np.int64),
        "excluded_rounds": np.bincount(np.array(excluded, int), minlength=partition.num_clients),
    }
    if len(adversaries):
        table["adversary"] = np.isin(np.arange(partition.num_clients), adversaries).astype(np.int64)
    if "attacked" in sums:
        table["attack_success"] = headline_of_clients(sums["attacked"])
    if "adapted" in sums:
        adapted = _measured("adapted", sums["adapted"])
        table |= {
            f"adapted_{headline}": adapted[f"adapted_{headline}"],
            f"adapted_{headline}_mean": means["adapted"],
            "adapted_loss": adapted["adapted_loss"],
            **_others("adapted", sums["adapted"]),
        }
    if "validation" in sums and partition.validation is not None:
        validation = sums["validation"]
        table |= {"val_examples": partition.validation.sizes, **_measured("val", validation)}
        table |= _others("val", validation)
    if "fit" in sums:
        table |= _measured("fit", sums["fit"]) | _others("fit", sums["fit"])
    return pd.DataFrame(table)


def rows_of_evaluation(table: "pd.DataFrame", round: int, clients: np.ndarray) -> "pd.DataFrame":
    """Rows of clients_history.csv: of the clients' table, what `clients` [K] reached in this round alone."""
    mean = f"_{headline_of(table.columns)}_mean"
    tests, others = tuple(f"{test}_" for test in (*ON_TEST_SHARDS, "val", "fit")), ("_examples", mean)
    measured = [name for name in map(str, table) if name.startswith(tests) and not name.endswith(others)]
    rows = table.loc[clients, ["client", *measured]].reset_index(drop=True)
    rows.insert(0, "round", round)
    return rows


def _others(test: str, sums: Sums) -> dict[str, np.ndarray]:
    """Columns [N] of the measures beside the headline."""
    return {f"{test}_{name}": values.clients for name, values in sums.measures.items()}


def _measured(test: str, sums: Sums) -> dict[str, np.ndarray]:
    """Columns [N] of what was measured by one test."""
    measured, loss, examples = (np.asarray(part) for part in sums[:3])
    tested = np.where(examples > 0, examples, np.nan)
    of_accuracy = {}
    if sums.headline == "accuracy":  # a window of text is right in part, and one of several labels
        of_accuracy[f"{test}_correct"] = measured.astype(np.int64) if (measured % 1 == 0).all() else measured
    return {
        **of_accuracy,
        f"{test}_{sums.headline}": measured / tested,
        f"{test}_loss": loss / tested,
    }
