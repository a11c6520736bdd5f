"""Tables as CSV files: appended to or written whole, floats with all their digits."""

import contextlib
import csv
import io
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedtp_jax.core.errors import UserError, in_one_line
from fedtp_jax.storage.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

TEXTS = ("name", "excluded_clients")  # columns that are not numbers


class CsvLog:
    """A CSV file to which rows are appended. Floats are written with all their digits."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIOWrapper | None = None

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row, the first one after the header, and hand it to the operating system; whole or not."""
        self._add(lambda header: csv_lines([row], header))

    def append_table(self, table: "pd.DataFrame") -> None:
        """Add the rows of a table, as `append` does one; whole or not."""
        self._add(lambda header: csv_text(table, header))

    def _add(self, text: Callable[[bool], str]) -> None:
        """Add what `text` gives, told whether a header must be in it."""
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            if self._file is None:
                self._file = self.path.open("a", encoding="utf-8", newline="")
            self._file.write(text(not size))
            self._file.flush()
        except OSError:
            self.close()
            with contextlib.suppress(OSError):
                os.truncate(self.path, size)
            raise

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # of a row that did not fit, and was told of
                self._file.close()
            self._file = None

    def content(self) -> bytes:
        """The file as it is, empty if there is none."""
        return self.path.read_bytes() if self.path.is_file() else b""

    def restore(self, content: bytes) -> None:
        """Make the file what it was; rows that came later are dropped, a run does their work again."""
        found = self.content()
        if not found.startswith(content):
            warnings.warn(
                f"{self.path}: was changed or lost; it is written anew from the checkpoint", stacklevel=2
            )
        if found != content:
            write_atomically(self.path, content)


def numbers_table(rows: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    """The table of these rows; a column in which nothing is known yet holds NaN, as one does in part."""
    import pandas as pd

    table = pd.DataFrame(rows)
    unknown = [column for column in table if table[column].isna().all()]
    return table.astype(dict.fromkeys(unknown, float))


def csv_lines(rows: Sequence[Mapping[str, Any]], header: bool) -> str:
    """What CsvLog appends for these rows, of which there is at least one."""
    lines = [*([",".join(rows[0])] if header else []), *(",".join(map(_cell, row.values())) for row in rows)]
    return "\n".join(lines) + "\n"


def csv_rows(content: bytes) -> list[dict[str, Any]]:
    """The rows of a file that CsvLog or `write_csv` wrote; an empty cell is None."""
    return [
        {name: cell if name in TEXTS else _number(cell) for name, cell in row.items()}
        for row in csv.DictReader(io.StringIO(content.decode(), newline=""))
    ]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of such a file, none if it is missing; UserError if somebody else has changed it."""
    try:
        return csv_rows(path.read_bytes()) if path.exists() else []
    except (OSError, ValueError, AttributeError, csv.Error) as error:  # a row may lack cells
        raise UserError(
            f"{path}: was changed, so it cannot be read ({in_one_line(error)}); run it again"
        ) from None


def _cell(value: Any) -> str:
    """All digits of a number, nothing for None; no text here needs quotes."""
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(value)


def _number(cell: str) -> int | float | None:
    """The number that wrote this cell, to the last bit."""
    if cell == "":
        return None
    return int(cell) if cell.lstrip("-").isdigit() else float(cell)


def csv_text(table: "pd.DataFrame", header: bool = True) -> str:
    """A table with all digits of its floats."""
    return str(table.to_csv(index=False, header=header, lineterminator="\n"))


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """The file of a table."""
    write_atomically(path, csv_text(table))
