"""Which cases of a parametrized test are for every day, and which CI alone runs."""

import pytest


def every_day(cases, quick):
    """All `cases` in their order, those that are not among `quick` marked `slow`; a tuple is one case."""
    assert all(case in cases for case in quick)
    return [
        case
        if case in quick
        else pytest.param(*(case if isinstance(case, tuple) else [case]), marks=pytest.mark.slow)
        for case in cases
    ]
