"""Random streams: no two of them meet, and none is that of a seed alone."""

import itertools

import jax
import numpy as np
import pytest

from fedtp_jax.core.rng import Purpose, generator, key

SEEDS, LARGEST = (0, 1, 2, 3), 2**32 - 1
INTEGERS = [
    (),
    *itertools.product((0, 1, 2, 3, 7, LARGEST), repeat=1),
    *itertools.product((0, 1, 2, 3, 7), repeat=2),
]


def test_all_pairs_of_streams_are_different():
    first = {
        (seed, purpose, *integers): tuple(generator(seed, purpose, *integers).integers(2**63, size=2))
        for seed in SEEDS
        for purpose in Purpose
        for integers in INTEGERS
    }
    alone = {(seed,): tuple(np.random.default_rng(seed).integers(2**63, size=2)) for seed in range(20)}
    drawn = [*first.values(), *alone.values()]
    assert len(set(drawn)) == len(drawn)


def test_all_pairs_of_keys_are_different():
    keys = [
        tuple(jax.random.key_data(key(seed, purpose, *integers)).tolist())
        for seed in SEEDS[:2]
        for purpose in Purpose
        for integers in INTEGERS[:12]
    ]
    assert len(set(keys)) == len(keys)


def test_a_stream_is_a_function_of_its_numbers():
    assert generator(1, Purpose.BATCHES, 2, 3).random() == generator(1, Purpose.BATCHES, 2, 3).random()
    with pytest.raises(AssertionError):
        generator(0, Purpose.COHORT, 2**32)
