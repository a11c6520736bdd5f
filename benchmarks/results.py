"""A benchmark's outcome for the terminal, and as JSON, Markdown and PNG with the machine it was taken on."""

import json
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.machine import describe_machine, in_words
from fedtp_jax.plots.style import to_png
from fedtp_jax.storage.files import write_atomically


class Outcome(NamedTuple):
    """What a benchmark found: a description in Markdown, tables by their titles, a picture, a failure."""

    description: str
    tables: dict[str, pd.DataFrame]
    figure: Figure
    failure: str = ""


def write(name: str, outcome: Outcome, out: Path) -> None:
    """Print the tables and write NAME.json, NAME.md and NAME.png into the folder `out`."""
    machine = describe_machine()
    out.mkdir(parents=True, exist_ok=True)
    tables = {title: table.to_dict("records") for title, table in outcome.tables.items()}
    content = {"benchmark": name, "machine": machine, "tables": tables}
    write_atomically(out / f"{name}.json", json.dumps(content, indent=2) + "\n")
    parts = [f"# {name}", outcome.description.strip(), f"![{name}]({name}.png)"]
    for title, table in outcome.tables.items():
        print(f"\n{title}\n{table.to_string(index=False)}", flush=True)
        parts += [f"## {title}", markdown(table)]
    parts.append(f"`python -m benchmarks {name}` on {in_words(machine)}.")
    write_atomically(out / f"{name}.md", "\n\n".join(parts) + "\n")
    write_atomically(out / f"{name}.png", to_png(outcome.figure))


def markdown(table: pd.DataFrame) -> str:
    """A table of GitHub's Markdown."""
    rows = [[*map(str, table.columns)], ["---"] * len(table.columns), *table.astype(str).values.tolist()]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)
