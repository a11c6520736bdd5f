"""FedALA where the plain loop does not look: the first round, who never trained, what counts as a step."""

import dataclasses

import numpy as np
import pytest
from method_cases import CLIENTS, TRAIN, TRAINING, simulator
from tiny_run import TINY

from fedtp_jax import config, simulate
from fedtp_jax.core import tree
from fedtp_jax.data.sources import load
from fedtp_jax.evaluation.novel_steps import Adaptation
from fedtp_jax.methods.fedala import THETA, WEIGHT

HEAD = ("params/head/bias", "params/head/kernel")
BATCH = 2


def examples(size, steps):
    """In the first local steps of passes over so many."""
    passes, more = divmod(steps, -(-size // BATCH))
    return passes * size + min(more * BATCH, size)


def test_weights_are_learned_before_the_local_steps_which_alone_count():
    slow = config.Participation(stragglers=1.0, straggler_share=0.3)
    training = dataclasses.replace(TRAINING, batch_size=BATCH, local_epochs=2, participation=slow)
    sim = simulator("fedala", "vit", training=training)
    asked, (wave,) = sim.participation.participants(0), list(sim.prepare(0))
    sizes = [TRAIN[k] for k in asked.ids]
    prelude = [np.ceil(np.ceil(0.8 * size) / BATCH) for size in sizes]
    assert wave.useful_steps == asked.steps.sum() + sum(prelude)
    state, result = sim.round(sim.init(), 0, [wave])
    assert result.stragglers > 0
    assert result.examples == sum(map(examples, sizes, asked.steps))

    rows = state.rows.take(np.arange(CLIENTS))
    assert set(rows) == {prefix + path for prefix in (THETA, WEIGHT) for path in HEAD}
    shared, own = sim.variables(state._replace(rows={}), rows)
    absent = np.setdiff1d(np.arange(CLIENTS), asked.ids)
    for path in HEAD:
        # theta was w still, so that there was nothing to learn
        np.testing.assert_array_equal(rows[WEIGHT + path], 1.0)
        np.testing.assert_array_equal(own[path], np.broadcast_to(shared[path], own[path].shape))
        assert not np.array_equal(rows[THETA + path][absent[0]], shared[path])

    state, _ = sim.round(state, 1, sim.prepare(1))
    cohort = sim.participation.participants(1).ids
    weights = state.rows.take(cohort)[WEIGHT + HEAD[1]]
    assert ((weights >= 0) & (weights <= 1)).all()
    assert all((own != 1).any() for own in weights)


@pytest.mark.slow
def test_everything_beside_the_rounds_takes_the_mixture():
    training = dataclasses.replace(TINY.training, rounds=2, held_out=1)
    adapt = config.Evaluation(adapt=config.Adapt(steps=1))
    result = simulate(TINY, method=config.FedALA(), training=training, evaluation=adapt)
    assert result.adapted is not None
    trained = int(np.flatnonzero(result.state.rows.trained)[0])
    leaves, server = tree.flatten(result.variables(trained)), result.state.shared
    row = result.state.rows.take(np.array([trained]))
    assert leaves.keys() == server.keys()
    for path in HEAD:
        theta, weight = row[THETA + path][0], row[WEIGHT + path][0]
        np.testing.assert_allclose(leaves[path], theta + (server[path] - theta) * weight, atol=1e-6)
    novel = result.personalize_held_out(load(TINY.data), settings=Adaptation(epochs=1))
    assert set(novel.reached) == {"zero_shot", "fit", "fine_tune", "local"}
