"""Every field of every kind: another value changes the result, or a message names it, or it never should."""

import pytest
from every_setting import ELSEWHERE, NEVER, TABLE, fields, outcome
from marks import every_day

CASES = [(kind, field) for kind, field in fields() if field not in {*NEVER, *ELSEWHERE}]
SWIFT = [
    case
    for case in CASES
    if case[1].split(".")[0] in ("data", "partition", "model") and "dropout" not in case[1]
]


@pytest.mark.parametrize(("kind", "field"), every_day(CASES, SWIFT, CASES[::2]))
def test_another_value_changes_the_result_or_is_told(kind, field):
    came = outcome(kind, field)
    assert came == "result" or came.startswith((field, f"partition {kind}: ")), came


def test_what_never_changes_a_result_is_a_setting():
    assert {field for _, field in fields()} >= NEVER


def test_the_table_has_every_field():
    table = TABLE.read_text(encoding="utf-8")
    assert all(f"| {kind} | `{field}` | " in table for kind, field in fields())
    assert "NOTHING" not in table
