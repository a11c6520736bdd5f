"""What the pages of runs are made of: a page asks nothing of the network, and holds its own pictures."""

import base64
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from fedtp_jax.config.metrics import METRICS, NOT_SHARES, attack_columns, columns_of
from fedtp_jax.pages import explore
from fedtp_jax.plots.style import to_png

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FRACTIONS = {"share_done", *attack_columns("accuracy", backdoor=True)} | {  # shown in percent
    f"{test}_{name}"
    for test in ("test", "adapted", "val")
    for name in (
        "accuracy_mean",
        *(c for name in METRICS if name not in NOT_SHARES for c in columns_of(name)),
    )
}

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
.board :is(th, td):is(:first-child, :last-child) { text-align: left; }
.headline td { font-weight: 600; }
.notes { padding: .7rem 1rem .7rem 2rem; color: var(--warn); background: var(--warnbox); }
img { max-width: 100%; height: auto; box-sizing: border-box; padding: .6rem; background: #fff; }
figure { margin: 0; } figcaption { margin-top: .4rem; color: var(--quiet); font-size: .87rem; }
pre { padding: .9rem 1rem; overflow-x: auto; background: var(--box); border-radius: 6px; font-size: .87rem; }
.chart { margin: 0 0 1rem; } .chart > div, .chart .vega-embed { width: 100%; }
.chart > div, :is(.controls, .sorted) svg { background: #fff; }
.beside { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); }
.beside > * { min-width: 0; }
.quiet { color: var(--quiet); font-size: .87rem; } ul.quiet { padding-left: 1.2rem; }
.controls { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .4rem 0 .6rem; font-size: .9rem; }
html:not([data-scripts]) :is(.controls, .explored, .chart, input) { display: none; }
.controls label { display: inline-flex; align-items: center; gap: .35rem; }
input[type=search] { font: inherit; padding: .25rem .5rem; margin-bottom: .6rem; max-width: 100%; }
.long { max-height: 32rem; overflow: auto; }
.long thead th { position: sticky; top: 0; background: var(--page); }
thead button { all: unset; cursor: pointer; } thead button:focus-visible { outline: 2px solid; }
[aria-sort=ascending] button::after { content: " ▲"; }
[aria-sort=descending] button::after { content: " ▼"; }
.sorted :is(th, td).word { text-align: left; } .sorted td { white-space: nowrap; }
#vg-tooltip-element { position: fixed; z-index: 1000; visibility: hidden; padding: .4rem .6rem;
  font-size: .85rem; color: var(--ink); background: var(--box); border: 1px solid var(--line);
  border-radius: 4px; pointer-events: none; }
#vg-tooltip-element.visible { visibility: visible; }
#vg-tooltip-element :is(th, td) { border: 0; padding: .05rem .4rem; }
#vg-tooltip-element .key { color: var(--quiet); } #vg-tooltip-element .value { text-align: left; }
"""

# The policy makes sure of it: this page can load nothing and runs no foreign script, whatever its texts hold.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
{refresh}<title>{title}</title><style>{style}</style>
</head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def html(
    title: str,
    head: str,
    sections: Mapping[str, str],
    notes: Sequence[str] = (),
    refresh: int | None = None,
    explored: bool = False,
) -> str:
    """The whole page: `head` and `notes` on top, then the sections {name: HTML}.

    Args:
      refresh: seconds after which a browser reads it anew; None: never.
      explored: whether it has charts and tables that answer (explore.py), and the scripts for them.
    """
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    body = head + (f'<ul class="notes">{items}</ul>' if items else "")
    body += "".join(f"\n<h2>{name}</h2>\n{content}" for name, content in sections.items())
    again = "" if refresh is None else f'<meta http-equiv="refresh" content="{refresh}">\n'
    if explored:
        body += explore.scripts()
    policy = explore.policy(STYLE, explored)
    return PAGE.format(title=escape(title), style=STYLE, body=body, refresh=again, policy=policy)


def picture(figure: "Figure", caption: str) -> str:
    """The figure within the page, its caption below."""
    data = base64.b64encode(to_png(figure)).decode()
    width, text = round(100 * figure.get_figwidth()), escape(caption)
    image = f'<img alt="{text}" width="{width}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def pairs(pairs: Iterable[tuple[str, str]], kind: str = "") -> str:
    """A line for each (name, value)."""
    rows = "".join(f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in pairs)
    return f'<div class="scroll"><table class="pairs {kind}"><tbody>{rows}</tbody></table></div>'


def table(frame: "pd.DataFrame", empty: str) -> str:
    """The table, its shares in percent; `empty` is said where it has no row."""
    return grid(*_texts(frame)) if len(frame) else f"<p>{escape(empty)}</p>"


def clients_table(frame: "pd.DataFrame", empty: str) -> str:
    """The same, a row per client, to be sorted and searched; ticked clients stand out in the charts."""
    if frame.empty:
        return f"<p>{escape(empty)}</p>"
    names, rows = _texts(frame)
    keys = [str(client) for client in frame["client"]]
    return explore.table(names, rows, "chosen", keys, left=[names.index(n) for n in names if n == "name"])


def _texts(frame: "pd.DataFrame") -> tuple[list[str], list[list[str]]]:
    """(the columns' names, the rows' cells) of a table."""
    columns = [str(name) for name in frame]
    names = [name.replace("_", " ") + (" (%)" if name in FRACTIONS else "") for name in columns]
    rows = frame.itertuples(index=False)
    return names, [[_cell(*pair) for pair in zip(columns, row, strict=True)] for row in rows]


def grid(names: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of cells that are HTML, under the columns' names; a "board" has words first and last."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    table = f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


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
    if column == "client":
        return str(int(value))
    whole = float(value).is_integer() and not column.endswith("loss")
    return f"{value:,.0f}" if whole else f"{value:.4f}"


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as one list of (name, value); equal entries of a list are counted."""
    pairs = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            pairs += flatten(value, f"{prefix}{key}: ")
            continue
        if isinstance(value, list):
            value = ", ".join(f"{n} x {item}" if n > 1 else str(item) for item, n in Counter(value).items())
        pairs.append((prefix + key, str(value)))
    return pairs
