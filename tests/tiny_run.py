"""A tiny run that many tests look at, how it is stopped, and what it is compared by."""

import dataclasses

import jax
import numpy as np

from fedtp_jax import SimulationConfig, config
from fedtp_jax.learning.method import State

TINY = SimulationConfig(
    partition=config.Pathological(clients=6, classes_per_client=2),
    model=config.Vit(patch_size=4, dim=8, depth=1, heads=2, dim_head=4, mlp_dim=8),
    method=config.FedTP(hypernetwork=config.Hypernetwork(embedding=4, hidden=6, layers=1)),
    training=config.Training(rounds=6, cohort_size=3, learning_rate=0.1),
    evaluation=config.Evaluation(every=2, last=2),
    checkpoint=config.Checkpoint(every=2, keep=2),
)
AS_RUN = dataclasses.replace(TINY, engine=config.Engine(devices=4))  # what auto is where it runs


class Stopped(Exception):
    pass


def stop_after(rounds):
    def on_round(progress):
        if progress.round == rounds:
            raise Stopped

    return on_round


def same_files(a, b):
    for name in ("metrics.csv", "clients.csv", "config.yaml", "partition.npz"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


def same_state(a, b):
    if isinstance(a, State):
        a, b = (s._replace(rows=s.rows.take(np.arange(s.rows.clients))) for s in (a, b))
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
