"""CSV files that say something of clients, who are given by number or by name."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fedtp_jax.core.client_names import number_of
from fedtp_jax.core.errors import UserError, in_one_line


def trace_lines(field: str, path: Path, columns: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """(what a message about a line begins with, its cells) of each line that is not blank.

    Raises UserError for a file that is missing or begins with other columns.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # Excel begins its files with a mark
            rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{field}: {path} cannot be read ({in_one_line(error)}); give a CSV file") from None
    if not rows or rows[0] != columns:
        head = ",".join(rows[0]) if rows else "nothing"
        raise UserError(f"{field}: {path} begins with {head[:80]!r}, expected {','.join(columns)}")
    for number, row in enumerate(rows[1:], start=2):
        if any(row):
            yield f"{field}: {path}, line {number}", row


def number_in_cell(cell: str, known: Mapping[str, int], num_clients: int, where: str) -> int | str:
    """Of a client that is named, of those `known` {name: number}; a cell that is no name as it is."""
    return number_of(cell, known, num_clients, where) if known and not cell.isdecimal() else cell
