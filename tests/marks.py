"""Which cases of a parametrized test are for every day, which for CI, and which for a release."""

import pytest


def every_day(cases, quick, ci=None):
    """All `cases` in their order; those not in `quick` are `slow`, of these those not in `ci` also `rare`.

    A tuple is one case. Without `ci` CI runs all.
    """
    assert all(case in cases for case in (*quick, *(ci or ())))

    def marks(case):
        if case in quick:
            return []
        return [pytest.mark.slow] if ci is None or case in ci else [pytest.mark.slow, pytest.mark.rare]

    return [pytest.param(*(case if isinstance(case, tuple) else [case]), marks=marks(case)) for case in cases]
