"""The report of a run: one HTML page that holds its own pictures and asks nothing of the network."""

import base64
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fedtp_jax.config.metrics import METRICS, NOT_SHARES, columns_of
from fedtp_jax.evaluation.attacked import attack_columns
from fedtp_jax.plots.clients import client_accuracies, worst_first
from fedtp_jax.plots.curves import learning_curves
from fedtp_jax.plots.partition import partition_bubbles
from fedtp_jax.plots.style import to_png
from fedtp_jax.results.reached import evaluated_rounds
from fedtp_jax.storage.files import write_atomically

OF_ACCURACY = "accuracy_mean", "accuracy_trained", "accuracy_untrained"
EVALUATIONS, WORST = 5, 10  # rows of the two tables
FRACTIONS = {"share_done", *attack_columns("accuracy", backdoor=True)} | {  # shown in percent
    f"{test}_{name}"
    for test in ("test", "adapted", "val")
    for name in (
        "accuracy_mean",
        *(c for name in METRICS if name not in NOT_SHARES for c in columns_of(name)),
    )
}

CURVES = (
    "Every client is tested on its own test examples. All examples: those of all clients together. Mean of "
    "clients: every client counts once; the band is one standard deviation."
)
TIMED = "The same over the time that the rounds would take by the virtual clock (training.clock)."
CLIENTS = "Every client counts once. The worst tenth (rounded up) is drawn in orange."
EMBEDDINGS = (
    "What the hypernetwork makes each client's own leaves from, seen along its two main directions. Clients "
    "whose data are alike lie together where the embeddings have learned what clients share."
)
PARTITION = "Training examples that each client holds, of each class where there are some."

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --quiet: #636c76; --line: #d8dee4; --page: #fff;
  --box: #f6f8fa; --warn: #8a5d00; --warnbox: #fff8e5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --quiet: #9198a1; --line: #30363d;
  --page: #0d1117; --box: #161b22; --warn: #d9a032; --warnbox: #272115; } }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 62rem; color: var(--ink);
  background: var(--page); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1.2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .7rem; border-bottom: 1px solid var(--line); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
thead th { color: var(--quiet); font-size: .85rem; vertical-align: bottom; }
.pairs th { text-align: left; font-weight: 400; color: var(--quiet); padding-left: 0; }
.pairs td { text-align: left; overflow-wrap: anywhere; }
.headline td { font-weight: 600; }
.notes { padding: .7rem 1rem .7rem 2rem; color: var(--warn); background: var(--warnbox); }
img { max-width: 100%; height: auto; box-sizing: border-box; padding: .6rem; background: #fff; }
figure { margin: 0; } figcaption { margin-top: .4rem; color: var(--quiet); font-size: .87rem; }
pre { padding: .9rem 1rem; overflow-x: auto; background: var(--box); border-radius: 6px; font-size: .87rem; }
"""

# The policy makes sure of it: this page can load nothing, whatever its texts hold.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title><style>{style}</style>
</head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    config_yaml: str,
    environment: Mapping[str, Any],
    history: pd.DataFrame,
    clients: pd.DataFrame,
    counts: np.ndarray,
    class_names: Sequence[str] = (),
    embeddings: Figure | None,
    headline: Sequence[tuple[str, str]],
    notes: Sequence[str] = (),
) -> None:
    """Write the page, whole or not at all.

    Args:
      path: file to write or replace.
      config_yaml, environment: shown as they are; the latter may be nested.
      history, clients: as in `Result`; accuracies are fractions, and `clients` may have names.
      counts: [N, C] training examples of each class that each client holds.
      class_names: of the classes; default: their numbers.
      embeddings: the clients' picture, None if the method has none.
      headline: (name, value) pairs at the top of the page.
      notes: warnings that a reader of the headline must know.
    """
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    evaluated = evaluated_rounds(history)
    last = evaluated.tail(EVALUATIONS).drop(columns="excluded_clients")  # clients.csv has them
    names = clients["name"].tolist() if "name" in clients else ()
    worst, timed = worst_first(clients), "virtual_time" in history
    sections = {
        "Learning curves": _picture(learning_curves(history), CURVES),
        **({"Over virtual time": _picture(learning_curves(history, "time"), TIMED)} if timed else {}),
        "Clients at the last evaluation": _picture(client_accuracies(clients), CLIENTS),
        "Partition": _picture(partition_bubbles(counts, class_names or None, names), PARTITION),
        **({} if embeddings is None else {"Client embeddings": _picture(embeddings, EMBEDDINGS)}),
        f"Last {EVALUATIONS} evaluations": _table(last, "No evaluation yet."),
        f"Worst {WORST} clients": _table(worst.head(WORST), "No client was tested."),
        "Configuration": f"<pre>{escape(config_yaml)}</pre>",
        "Environment": _pairs(_flatten(environment)),
    }
    body = _pairs(headline, "headline") + (f'<ul class="notes">{items}</ul>' if items else "")
    body += "".join(f"\n<h2>{name}</h2>\n{content}" for name, content in sections.items())
    write_atomically(Path(path), PAGE.format(title=escape(title), style=STYLE, body=body))


def _picture(figure: Figure, caption: str) -> str:
    data = base64.b64encode(to_png(figure)).decode()
    width, text = round(100 * figure.get_figwidth()), escape(caption)
    image = f'<img alt="{text}" width="{width}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def _pairs(pairs: Iterable[tuple[str, str]], kind: str = "") -> str:
    rows = "".join(f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in pairs)
    return f'<div class="scroll"><table class="pairs {kind}"><tbody>{rows}</tbody></table></div>'


def _table(frame: pd.DataFrame, empty: str) -> str:
    if frame.empty:
        return f"<p>{escape(empty)}</p>"
    columns = [str(name) for name in frame]
    names = [name.replace("_", " ") + (" (%)" if name in FRACTIONS else "") for name in columns]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = ""
    for row in frame.itertuples(index=False):
        cells = (_cell(name, value) for name, value in zip(columns, row, strict=True))
        body += "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(column: str, value: float | str) -> str:
    """A number as a reader wants it: fractions in percent, counts whole, others to four digits."""
    if isinstance(value, str):
        return escape(value)
    if math.isnan(value):
        return "&ndash;"
    if column in FRACTIONS:
        return f"{100 * value:.2f}"
    if any(f"_{name}" in column for name in NOT_SHARES):
        return f"{value:.4g}"
    whole = float(value).is_integer() and not column.endswith("loss")
    return f"{value:,.0f}" if whole else f"{value:.4f}"


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as one list of (name, value); equal entries of a list are counted."""
    pairs = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            pairs += _flatten(value, f"{prefix}{key}: ")
            continue
        if isinstance(value, list):
            value = ", ".join(f"{n} x {item}" if n > 1 else str(item) for item, n in Counter(value).items())
        pairs.append((prefix + key, str(value)))
    return pairs
