"""Randomness that is derived, never stored: each stream is a function of (seed, purpose, integers) alone.

So client k's batch order in round r is the same whatever lane, device or wave it runs on, and a resumed run
needs no generator state.
"""

import enum

import jax
import numpy as np

STREAMS = 2  # version of what `generator` gives; 1 is that of fedtp_jax 0.1.0


@enum.unique
class Purpose(enum.IntEnum):
    """What a stream is for. The numbers are part of every result: never renumber."""

    PARTITION = 0
    MODEL = 1
    HYPERNETWORK = 2
    COHORT = 3
    BATCHES = 4
    CLIENT = 5  # dropout and other noise inside a client's local steps
    EVALUATION = 6  # noise on the inputs of an evaluation, dropout in the training of clients that adapt
    NEIGHBORS = 7  # which examples a client keeps for its nearest neighbours
    HELD_OUT = 8  # which clients never train
    NOVEL = 9  # batches and noise of the clients met after training
    EVALUATED = 10  # which clients are evaluated
    PARTICIPATION = 11  # who drops out of a round, and who is slow in it
    ADAPTATION = 12  # batches of the clients that adapt before a test
    VALIDATION = 13  # which of its train examples a client is validated on
    DESCRIPTION = 14  # which of its train examples describe a client in a round, and their noise
    PRIVACY = 15  # the noise on a round's sum
    ADVERSARIES = 16  # which clients work against the others
    CLOCK = 17  # how fast the clients' devices and links are


def generator(seed: int, purpose: Purpose, *integers: int) -> np.random.Generator:
    """NumPy generator of the stream (seed, purpose, integers), each of at most 32 bits.

    NumPy takes missing words for zeros. The last word here is never zero and counts the integers, so that no
    two streams are one, nor one of them that of a seed alone.
    """
    words = [seed, int(purpose), *integers, 1 + len(integers)]
    assert all(0 <= word < 2**32 for word in words), "a larger one would become two words"
    return np.random.default_rng(words)


def key(seed: int, purpose: Purpose, *integers: int) -> jax.Array:
    """JAX key of the stream (seed, purpose, integers)."""
    first, *words = jax.device_put([np.uint32(word) for word in (seed, int(purpose), *integers)])
    result = jax.random.key(first)
    for word in words:
        result = jax.random.fold_in(result, word)
    return result
