"""Private simulators of five small clients, and what their server is given."""

import dataclasses

import jax
import numpy as np
from method_cases import TRAINING, simulator

from fedtp_jax import config

POISSON = config.Participation(sampling="poisson")
UNIFORM = config.Server(weighting="uniform")


def private(name, model="vit", clip=0.05, noise=1e-9, cohort=3, quantile=None, **settings):
    training = dataclasses.replace(TRAINING, cohort_size=cohort, participation=POISSON)
    if name in ("fedrep", "fedpac"):
        training = dataclasses.replace(training, local_epochs=2)
    privacy = config.Privacy(noise_multiplier=noise, clip=clip, quantile=quantile)
    return simulator(name, model, **{"training": training, "server": UNIFORM, "privacy": privacy, **settings})


def sums(sim, state, round, clients=None):
    """What the server is given of a round, before the noise; of some `clients` alone."""
    seen = []
    real = sim.private.added
    sim.private.added = lambda totals, *about: seen.append(jax.device_get(totals)) or real(totals, *about)
    waves = sim.prepare(round)
    if clients is not None:
        _, steps, *_ = sim.participation.participants(round)
        ids = sim.participation.participants(round).ids
        places = [int(np.flatnonzero(ids == k)[0]) for k in clients]
        batches = [sim._batches(round, k, int(steps[p])) for k, p in zip(clients, places, strict=True)]
        waves = [sim.prepare_wave(np.array(clients), batches, ids)]
    sim.round(state, round, waves)
    sim.private.added = real
    ((upload, gradient),) = seen
    return {**upload.shared, **{f"generator/{p}": leaf for p, leaf in gradient.items()}}
