"""Differences are rounded to digits of what they are of, whatever its size."""

import numpy as np
import pytest

from fedtp_jax.core.rounding import without_noise


@pytest.mark.parametrize("size", [1e-40, 1e-10, 1.0, 100.0, 1e20])
def test_noise_goes_and_differences_stay(size):
    one = size * np.array([0.3, 0.5, np.inf])
    other = size * np.array([0.1 + 0.2, 0.4, 0.1])
    difference = without_noise((one - other)[:2], one, other)
    assert difference[0] == 0 and difference[1] == pytest.approx(0.1 * size)


def test_of_nothing_and_of_zeros_nothing_is_rounded():
    assert without_noise(np.zeros(0)).size == 0
    assert without_noise(np.zeros(2), np.zeros(2)).tolist() == [0, 0]
