"""Of a round, for the plain loops: whom it draws, and its factor on the learning rate."""

import math

import numpy as np

from fedtp_jax import config
from fedtp_jax.core import rng
from fedtp_jax.engine.schedule import sample_cohort


def draws_of(world, round):
    """Clients in ascending order, each as often as it was drawn."""
    how, size, everybody = world.training.participation, world.training.cohort_size, range(world.clients)
    if how.cohorts is not None:
        return sorted(how.cohorts[round % len(how.cohorts)])
    if how.sampling == "without_replacement":
        return sample_cohort(world.seed, round, np.array(everybody), size).tolist()
    draw = rng.generator(world.seed, rng.Purpose.COHORT, round)
    if how.sampling == "poisson":
        coins = draw.random(world.clients)
        return [k for k in everybody if coins[k] < size / world.clients]
    sizes = np.array([world.size(k) for k in everybody])
    chances = sizes / sizes.sum() if how.sampling == "by_examples" else None
    return sorted(draw.choice(everybody, size, p=chances).tolist())


def factor_of(training, round):
    """1/w, 2/w, ... in the warm-up, then the schedule's."""
    s, w = training.schedule, training.warmup_rounds
    if round < w:
        return (round + 1) / w
    round, rounds = round - w, training.rounds - w
    match s:
        case config.Constant():
            return 1.0
        case config.Cosine():
            return s.final + (1 - s.final) * (1 + math.cos(math.pi * round / rounds)) / 2
        case config.Exponential():
            return s.decay**round
        case config.Step():
            return s.factor ** (round // s.every)
