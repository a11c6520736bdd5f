"""What a page needs to be explored: charts, controls, and the scripts that move them, all in the page itself.

A page runs two scripts and no other: its own (explore.js), and Vega with Vega-Lite and Vega-Embed, as
`javascript_bundle()` of vl-convert-python 1.9.0 puts them into one (vega.js.gz; licences beside it). Its
policy names both by their SHA-256, so that no text of a run, whatever it holds, can become one.
"""

import base64
import functools
import gzip
import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from fedtp_jax.pages.charts import Chart

HERE = files("fedtp_jax.pages")


def figure(chart: Chart, fallback: str, caption: str) -> str:
    """The chart with its caption; `fallback`: HTML in its place where no script runs."""
    words = caption + (f" Thinned out: {chart.thinned}." if chart.thinned else "")
    data = [{"fixed": dict(fixed), "columns": columns} for fixed, columns in chart.tables]
    held = json.dumps({"spec": chart.spec, "tables": data}, separators=(",", ":"), allow_nan=False)
    held = held.replace("<", "\\u003c")  # no text of a run closes the element
    drawn = f'<div></div><script type="application/json">{held}</script>'
    note = f"<figcaption>{escape(words)}</figcaption>" if words else ""
    return f'<figure class="chart">{drawn}{note}</figure>{instead(fallback)}'


def instead(fallback: str) -> str:
    """HTML where no script runs."""
    return f"<noscript>{fallback}</noscript>" if fallback else ""


def boxes(signal: str, series: Iterable[tuple[str, tuple[str, Sequence[int]] | None, bool]]) -> str:
    """Boxes to tick, a line's look beside each: (name, (colour, dashes) or None, whether it is ticked)."""
    made = []
    for name, look, ticked in series:
        line = "" if look is None else sign(*look)
        box = f'<input type="checkbox" value="{escape(name)}"{" checked" if ticked else ""}>'
        made.append(f"<label>{box}{line}{escape(name)}</label>")
    return f'<div class="controls" data-signal="{signal}">{"".join(made)}</div>'


def sign(colour: str, dashes: Sequence[int]) -> str:
    """A line as a chart draws it."""
    pattern = " ".join(map(str, dashes)) if dashes[1] else "none"
    line = f'stroke="{colour}" stroke-width="2.5" stroke-dasharray="{pattern}"'
    return f'<svg width="26" height="8" aria-hidden="true"><line x1="2" y1="4" x2="24" y2="4" {line}/></svg>'


def choice(signal: str, label: str, values: Iterable[tuple[str, str]]) -> str:
    """A list to choose from: (value, its name), the first chosen."""
    items = "".join(f'<option value="{escape(v)}">{escape(name)}</option>' for v, name in values)
    chosen = f'<select data-signal="{signal}">{items}</select>'
    return f'<div class="controls"><label>{escape(label)} {chosen}</label></div>'


def scripts() -> str:
    """The end of a page's body."""
    return (
        f'<script type="application/octet-stream" id="vega">{_packed()}</script>\n<script>{_own()}</script>'
    )


def table(
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    signal: str | None = None,
    keys: Sequence[str] = (),
    ticked: bool = False,
    left: Sequence[int] = (),
) -> str:
    """Rows of cells that are HTML, to be sorted, searched and ticked.

    Args:
      signal: the control that the ticked rows are; None: there is nothing to tick.
      keys: what each row is called there.
      ticked: whether all are at first.
      left: the columns that hold words.
    """
    word = [' class="word"' if k in left else "" for k in range(len(names))]
    head = "".join(
        f'<th scope="col"{sort}><button>{escape(name)}</button></th>'
        for name, sort in zip(names, word, strict=True)
    )
    boxes = [_box(key, ticked) for key in keys] if signal else itertools.repeat("")
    body = "".join(
        f"<tr>{box}{''.join(f'<td{side}>{cell}</td>' for cell, side in zip(row, word, strict=True))}</tr>"
        for box, row in zip(boxes, rows, strict=False)
    )
    empty, control = ("<td></td>", f' data-signal="{signal}"') if signal else ("", "")
    inner = f'<table class="sorted"><thead><tr>{empty}{head}</tr></thead><tbody>{body}</tbody></table>'
    search = '<input type="search" placeholder="only rows with …" aria-label="only rows with this text">'
    return f'<section>{search}<div class="scroll long"{control}>{inner}</div></section>'


def _box(key: str, ticked: bool) -> str:
    said = escape(key)
    state = " checked" if ticked else ""
    return f'<td><input type="checkbox" value="{said}" aria-label="{said}"{state}></td>'


@functools.cache
def policy(style: str, explored: bool) -> str:
    """The Content-Security-Policy of a page whose only style sheet is `style`, with scripts or without."""
    ours = " ".join(f"'sha256-{_digest(text)}'" for text in (_own(), _vega())) if explored else "'none'"
    return f"default-src 'none'; img-src data:; script-src {ours}; style-src 'sha256-{_digest(style)}'"


@functools.cache
def _own() -> str:
    return (HERE / "explore.js").read_text("utf-8")


def _vega() -> str:
    return gzip.decompress((HERE / "vega.js.gz").read_bytes()).decode()


@functools.cache
def _packed() -> str:
    return base64.b64encode((HERE / "vega.js.gz").read_bytes()).decode()


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
