"""Counts agree with their nouns and verbs."""

import pytest

from fedtp_jax.core.counted import count_of


@pytest.mark.parametrize(
    ("number", "words", "told"),
    [
        (0, ["client"], "0 clients"),
        (1, ["client"], "1 client"),
        (1200, ["client"], "1,200 clients"),
        (1, ["class", "classes"], "1 class"),
        (2, ["of 3 clients has", "of 3 clients have"], "2 of 3 clients have"),
    ],
)
def test_one_is_not_many(number, words, told):
    assert count_of(number, *words) == told
