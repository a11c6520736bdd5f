"""Every row of the table of wrong inputs: the whole message, on one line, and nothing left behind."""

import pickle
import tracemalloc
from pathlib import Path

import pytest
from wrong_arrays import Attack
from wrong_inputs import CASES, TABLE, as_code, rows, told

ROWS = rows(TABLE.read_text(encoding="utf-8"))
BOMBS = [name for name in CASES if any(size in name for size in (" GB", " TB", "terabyte", "2^", "9^9"))]


@pytest.mark.parametrize("name", CASES)
def test_what_the_user_is_told(name, tmp_path):
    message, left = told(CASES[name], tmp_path)
    assert "\n" not in message
    assert as_code(message) == ROWS[name]
    assert left == set()


def test_the_table_has_the_cases_and_no_more():
    assert list(ROWS) == list(CASES)
    assert len(ROWS) >= 120


def test_bombs_are_not_unpacked(tmp_path):
    assert len(BOMBS) > 10
    tracemalloc.start()
    try:
        for number, name in enumerate(BOMBS):
            (tmp_path / str(number)).mkdir()
            told(CASES[name], tmp_path / str(number))
        assert tracemalloc.get_traced_memory()[1] < 2**27
    finally:
        tracemalloc.stop()


def test_the_attack_works_where_pickles_are_trusted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Attack()))
    assert Path("was_run").is_dir()
