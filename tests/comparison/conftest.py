"""The runs that several tests of a comparison look at."""

import pytest
from made_up_results import THREE

from fedtp_jax import compare


@pytest.fixture(scope="module")
def three():
    return compare(THREE)
