"""APFL where the plain loop does not look: what a client's variables hold, and alpha at its bounds."""

import dataclasses

import numpy as np
import pytest
from method_cases import TRAINING, simulator
from tiny_run import TINY

from fedtp_jax import config, load_data, simulate
from fedtp_jax.methods.apfl import ALPHA


def test_variables_hold_both_models_and_the_mixture_predicts():
    few = dataclasses.replace(TINY.training, rounds=1, cohort_size=6)
    result = simulate(TINY, method=config.APFL(alpha=0.3), training=few)
    x = load_data("digits").train.x[:5]
    variables = result.variables(2)
    assert set(variables) == {"params", "personal"}
    scaled = (x / np.float32(255) - result.data_spec.mean[0]) / result.data_spec.std[0]
    w, v = (result.model.apply({"params": of["params"]}, scaled) for of in (variables, variables["personal"]))
    assert np.abs(w - v).max() > 1e-3
    np.testing.assert_allclose(result.predict(2, x), 0.3 * v + 0.7 * w, atol=1e-5)


@pytest.mark.slow
def test_alpha_stays_a_share():
    """At such a rate its slope, or its decay, leads beyond a bound."""
    training = dataclasses.replace(
        TRAINING, role_learning_rates=config.RoleRates(personal=200.0), local_steps=1, cohort_size=5
    )
    sim = simulator(config.APFL(adaptive=True), "vit", training=training)
    state, result = sim.round(sim.init(), 0, sim.prepare(0))
    shares = state.rows.take(np.arange(5))[ALPHA]
    assert result.excluded == ()
    assert ((shares >= 0) & (shares <= 1)).all()
    assert np.isin(shares, [0, 1]).any()
