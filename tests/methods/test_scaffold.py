"""SCAFFOLD where the plain loop does not look: stragglers, and what clients run."""

import dataclasses

import jax
import numpy as np
import pytest
from method_cases import CLIENTS, PLAIN, simulator
from tiny_run import TINY

from fedtp_jax import UserError, config, load_data, simulate
from fedtp_jax.methods.scaffold import CONTROL, OWN


def test_a_straggler_divides_by_its_own_steps():
    slow = config.Participation(stragglers=1.0, straggler_share=0.3)
    training = dataclasses.replace(PLAIN, cohort_size=1, local_epochs=3, participation=slow)
    sim = simulator("scaffold", "vit", training=training)
    drawn = map(sim.participation.participants, range(20))
    round, who = next((r, part) for r, part in enumerate(drawn) if part.stragglers)
    ids, steps = who.ids, who.steps
    assert steps[0] < who.whole[0]
    state = sim.init()
    x = jax.device_get(state.shared)
    state, _ = sim.round(state, round, sim.prepare(round))
    y, row = jax.device_get(state.shared), state.rows.take(ids)
    for path in sim.task.leaf_shapes():
        gradient = (x[path] - y[path]) / (steps[0] * training.learning_rate)
        np.testing.assert_allclose(row[OWN + path][0], gradient, atol=1e-6, err_msg=path)
        np.testing.assert_allclose(y[CONTROL + path], gradient / CLIENTS, atol=1e-6, err_msg=path)


def test_nobody_runs_control_variates():
    training = config.Training(rounds=1, cohort_size=2, held_out=1, optimizer=config.Optimizer("sgd"))
    result = simulate(TINY, method=config.Scaffold(), training=training)
    assert set(result.variables(0)) == {"params"}
    data = load_data("digits")
    assert set(result.personalize_held_out(data, modes=["zero_shot"]).variables(0, "zero_shot")) == {"params"}
    with pytest.raises(UserError, match="scaffold leaves nothing to a client, so there is nothing to fit"):
        result.personalize_held_out(data, modes=["fit"])
