"""A benchmark's figures for the terminal, and as JSON and Markdown with the machine they were taken on."""

import json
from pathlib import Path

import pandas as pd

from fedtp_jax.folder import describe_environment, write_atomically


def write(name: str, description: str, table: pd.DataFrame, out: Path) -> None:
    """Print `table` and write NAME.json and NAME.md into the folder `out`."""
    environment = describe_environment()
    print(table.to_string(index=False))
    out.mkdir(parents=True, exist_ok=True)
    content = {"benchmark": name, "environment": environment, "rows": table.to_dict("records")}
    write_atomically(out / f"{name}.json", json.dumps(content, indent=2) + "\n")
    machine = (
        f"{environment['cpu_count']} CPU cores, {len(environment['devices'])} x {environment['devices'][0]}, "
        f"jax {environment['versions']['jax']}, Python {environment['python']}"
    )
    text = (
        f"# {name}\n\n{description.strip()}\n\n{_markdown(table)}\n\n"
        f"`python -m benchmarks {name}` on {machine}.\n"
    )
    write_atomically(out / f"{name}.md", text)


def _markdown(table: pd.DataFrame) -> str:
    rows = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).values.tolist()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
