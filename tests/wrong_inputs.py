"""Wrong inputs and what their user is told: the table wrong_inputs.md, a row for each case.

A case is a function that puts its files into the working folder, which is empty, and returns what then
goes wrong. The cases are in the files wrong_*.py; `python tests/wrong_inputs.py` writes the table anew.
Where a message quotes another library, its words may change with that library's version.
"""

import contextlib
import os
import re
import sys
import tempfile
from pathlib import Path
from unittest import mock

import conftest  # noqa: F401  sees to the devices, which some messages count
import wrong_clock
import wrong_data
import wrong_files
import wrong_going_on
import wrong_measures
import wrong_own
import wrong_partitions
import wrong_runs
import wrong_settings
import wrong_tasks
import wrong_uploads

from fedtp_jax import UserError

TABLE = Path(__file__).with_suffix(".md")
PARTS = (
    *(wrong_settings, wrong_own, wrong_data, wrong_files, wrong_partitions, wrong_runs, wrong_going_on),
    *(wrong_measures, wrong_tasks, wrong_uploads, wrong_clock),
)
KINDS = {kind: cases for part in PARTS for kind, cases in part.KINDS.items()}
CASES = {f"{kind}: {given}": case for kind, cases in KINDS.items() for given, case in cases.items()}


def told(case, folder):
    """The message that a case gets in an empty folder, and what it leaves there beside its own files."""
    python = mock.patch.object(sys, "dont_write_bytecode", True)
    with contextlib.chdir(folder), mock.patch.dict(os.environ, TFDS_DATA_DIR="tfds"), python:
        wrong = case()
        before = contents(folder)
        try:
            wrong()
        except UserError as error:
            message = str(error).replace(str(folder), "DIR")
        else:
            raise AssertionError("nothing was wrong")
        left = {path for path, content in contents(folder).items() if before.get(path, "none") != content}
    return re.sub(r"\b[0-9a-f]{16}\b", "FINGERPRINT", message), left


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def escaped(text):
    """A cell of a table."""
    return text.replace("|", "\\|")


def as_code(message):
    """A message as it is: in a cell of Markdown its signs would mean something."""
    marks = "``" if "`" in message else "`"
    space = " " if "`" in message else ""
    return escaped(f"{marks}{space}{message}{space}{marks}")


def table(messages):
    """{case: message} as Markdown."""
    lines = [
        "# Wrong inputs",
        "",
        "Written by `python tests/wrong_inputs.py`; `DIR` is the working folder.",
        "",
    ]
    for kind, cases in KINDS.items():
        lines += [f"## {kind}", "", "| what was given | what the user is told |", "| --- | --- |"]
        lines += [f"| {escaped(given)} | {as_code(messages[f'{kind}: {given}'])} |" for given in cases]
        lines += [""]
    return "\n".join(lines)


def rows(text):
    """{case: message as code} of a table."""
    found, kind = {}, ""
    for line in text.splitlines():
        if line.startswith("## "):
            kind = line.removeprefix("## ")
        elif cells := re.fullmatch(r"\| ((?:[^|]|\\\|)*) \| (`.*`) \|", line):
            found[f"{kind}: " + cells[1].replace("\\|", "|")] = cells[2]
    return found


if __name__ == "__main__":
    messages = {}
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            messages[name], _ = told(case, Path(folder).resolve())
    TABLE.write_text(table(messages), encoding="utf-8")
