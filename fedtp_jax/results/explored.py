"""A run's charts: its curves, its clients, who holds what, and the embeddings."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fedtp_jax.config.metrics import columns_of, headline_of
from fedtp_jax.core.client_names import IN_PICTURES, called
from fedtp_jax.pages import charts, client_charts, explore, page
from fedtp_jax.pages.charts import Axis
from fedtp_jax.plots.clients import Embedded, client_accuracies, embedding_map, worst_first
from fedtp_jax.plots.curves import learning_curves
from fedtp_jax.plots.partition import partition_bubbles
from fedtp_jax.plots.style import AXIS, LOSS

CURVES = (
    "Every client is tested on its own test examples. All examples: those of all clients together. Mean of "
    "clients: every client counts once; the band is one standard deviation."
)
CLIENTS = "Every client counts once. The worst tenth (rounded up) is drawn in orange."
EMBEDDINGS = (
    "What the hypernetwork makes each client's own leaves from, seen along its two main directions. Clients "
    "whose data are alike lie together where the embeddings have learned what clients share."
)
PARTITION = "Training examples that each client holds, of each class where there are some."
TIMED = "The same over the time that the rounds would take by the virtual clock (training.clock)."
TESTS = ("test_", "adapted_", "val_", "fit_", "honest_", "attack_")
LOSSES = ("train_loss", *(f"{test}loss" for test in TESTS))
OF_SOME = ("accuracy_trained", "accuracy_untrained")  # shares, of some of the clients
MOST_ROWS = 1000  # of the clients' table: the worst ones


def curves(history: pd.DataFrame) -> str:
    """What was measured (left) and the losses (right) over the rounds, or over virtual time."""
    timed = "virtual_time" in history
    static = page.picture(learning_curves(history), CURVES)
    if timed:
        static += page.picture(learning_curves(history, "time"), TIMED)
    headline = headline_of(history.columns)
    series = {**_measured(history, headline), **_losses(history)}
    first = {*_words(headline).values(), *_losses(history), f"adapted {headline}"}
    looks = charts.looks([*series])
    controls = explore.boxes("shown", [(name, looks[name], name in first) for name in series])
    x = {"round": Axis("communication round")}
    if timed:
        x["virtual_time"] = Axis("virtual time (s)")
        controls += explore.choice("over", "over", [("round", "rounds"), ("virtual_time", "virtual time")])
    parts = []
    for kind, axis in ((_measured(history, headline), AXIS[headline]), (_losses(history), LOSS[headline])):
        given = [({"series": name}, _points(history, columns, [*x])) for name, columns in kind.items()]
        parts.append(charts.curves(given, x, Axis(axis), looks))
    drawn = "".join(explore.figure(chart, "", "") for chart in parts)
    told = f"<p class='explored quiet'>{CURVES}</p>"
    return f"{controls}<div class='beside'>{drawn}</div>{told}{explore.instead(static)}"


def _words(headline: str) -> dict[str, str]:
    """{column: what it is called} of what every evaluation tests."""
    pooled, mean, _, decile = (f"test_{name}" for name in columns_of(headline))
    return {pooled: "all examples", mean: "mean of clients", decile: "worst tenth of clients"}


def _measured(history: pd.DataFrame, headline: str) -> dict[str, tuple[str, str | None]]:
    """{series: (its column, that of its std or None)} of all tests."""
    words, found = _words(headline), {}
    for column in history:
        test = (
            str(column).startswith(TESTS) and not str(column).endswith("client_std") and column not in LOSSES
        )
        if test and pd.api.types.is_numeric_dtype(history[column]):
            std = str(column).replace("client_mean", "client_std")
            banded = std if str(column) in words and std != column and std in history else None
            found[words.get(str(column), str(column).replace("_", " "))] = (str(column), banded)
    return found


def _losses(history: pd.DataFrame) -> dict[str, tuple[str, None]]:
    columns = [str(name) for name in history if name in LOSSES]
    return {name.replace("_", " "): (name, None) for name in columns}


def _points(history: pd.DataFrame, columns: tuple[str, str | None], x: Sequence[str]) -> pd.DataFrame:
    """Rows of the rounds in which the column was measured; shares in percent."""
    column, std = columns
    rows = history.dropna(subset=column)
    unit = 100 if column in page.FRACTIONS or column.endswith(OF_SOME) else 1
    values = unit * rows[column]
    given = {**{name: rows[name] for name in x}, "value": values}
    if std is not None:
        low, high = values - unit * rows[std], values + unit * rows[std]
        given |= {"low": low.clip(0), "high": high.clip(upper=100) if unit == 100 else high}
    return pd.DataFrame(given)


def clients(clients: pd.DataFrame, history: pd.DataFrame | None) -> str:
    """Every client at the last evaluation, and over the rounds if all evaluations were kept."""
    static = page.picture(client_accuracies(clients), CLIENTS)
    tested, headline = worst_first(clients), headline_of(clients.columns)
    if tested.empty:
        return static
    column, unit = f"test_{headline}", 100 if headline == "accuracy" else 1
    axis = Axis(AXIS[headline], (0, 100) if unit == 100 else None)
    names = _called(clients)
    given = tested[["client", "train_examples", "test_examples"]]
    given = given.assign(called=[names[k] for k in tested["client"]], value=unit * tested[column])
    drawn = explore.figure(client_charts.bars(given, axis), static, CLIENTS)
    if history is not None and column in history:
        rows = history[["round", "client"]].assign(value=unit * history[column])
        shown = {int(client): names[client] for client in tested["client"]}
        words = "Every client over the rounds. Tick clients in the table below: they stand out in the charts."
        drawn += explore.figure(client_charts.client_curves(rows, shown, axis), "", words)
    return drawn


def clients_table(clients: pd.DataFrame) -> str:
    """Every client, worst first; of very many the worst."""
    ranked = worst_first(clients)
    rows = pd.concat([ranked, clients.drop(ranked.index)]).head(MOST_ROWS)
    left = len(clients) - len(rows)
    more = f"<p>The {MOST_ROWS:,} worst of {len(clients):,} clients; clients.csv has all.</p>" if left else ""
    return page.clients_table(rows, "No client.") + more


def partition(counts: np.ndarray, class_names: Sequence[str], clients: pd.DataFrame) -> str:
    """Who holds which classes."""
    names = clients["name"].tolist() if "name" in clients else ()
    static = page.picture(partition_bubbles(counts, class_names or None, names), PARTITION)
    classes = [*class_names] or [str(k) for k in range(counts.shape[1])]
    return explore.figure(client_charts.held_classes(counts, classes, _called(clients)), static, PARTITION)


def embeddings(embedded: Embedded, clients: pd.DataFrame) -> str:
    """Clients by their embeddings."""
    static = page.picture(embedding_map(embedded), EMBEDDINGS)
    what = embedded.what, _called(clients)
    chart = client_charts.clients_map(embedded.points, embedded.axes, embedded.dominant, what[1], what[0])
    return explore.figure(chart, static, EMBEDDINGS)


def _called(clients: pd.DataFrame) -> list[str]:
    names = clients["name"].tolist() if "name" in clients else ()
    return [called(client, names, IN_PICTURES) for client in range(len(clients))]
