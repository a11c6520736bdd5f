"""Differences without what floating point adds to them."""

import math

import numpy as np


def without_noise(differences: np.ndarray, *of: np.ndarray, digits: int = 12) -> np.ndarray:
    """`differences` of the values `of`, to so many digits of the largest finite one of these."""
    sizes = np.abs(np.concatenate([np.zeros(1), *map(np.ravel, of)]))
    largest = sizes[np.isfinite(sizes)].max(initial=0.0)
    if not largest > 0:
        return differences
    unit = 10.0 ** (math.floor(math.log10(largest)) - digits)
    rounded: np.ndarray = np.round(differences / unit) * unit
    return rounded
