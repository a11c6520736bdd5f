"""Randomness that is derived, never stored: each stream is a function of (seed, purpose, integers) alone.

So client k's batch order in round r is the same whatever lane, device or wave it runs on, and a resumed run
needs no generator state.
"""

import enum

import jax
import numpy as np


class Purpose(enum.IntEnum):
    """What a stream is for. The numbers are part of every result: never renumber."""

    PARTITION = 0
    MODEL = 1
    HYPERNETWORK = 2
    COHORT = 3
    BATCHES = 4
    CLIENT = 5  # dropout and other noise inside a client's local steps
    EVALUATION = 6  # noise on the inputs of an evaluation
    NEIGHBORS = 7  # which examples a client keeps for its nearest neighbours
    HELD_OUT = 8  # which clients never train
    NOVEL = 9  # batches and noise of the clients met after training
    EVALUATED = 10  # which clients are evaluated
    PARTICIPATION = 11  # who drops out of a round, and who is slow in it


def generator(seed: int, purpose: Purpose, *integers: int) -> np.random.Generator:
    """NumPy generator of the stream (seed, purpose, integers)."""
    return np.random.default_rng([seed, int(purpose), *integers])


def key(seed: int, purpose: Purpose, *integers: int) -> jax.Array:
    """JAX key of the stream (seed, purpose, integers)."""
    first, *words = jax.device_put([np.uint32(word) for word in (seed, int(purpose), *integers)])
    result = jax.random.key(first)
    for word in words:
        result = jax.random.fold_in(result, word)
    return result
