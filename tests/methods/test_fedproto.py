"""FedProto where nobody has shown a class yet."""

import dataclasses

import numpy as np
import pytest
from tiny_run import TINY

from fedtp_jax import config, load_data, simulate
from fedtp_jax.methods.fedproto import CLIENTS


@pytest.mark.slow
def test_a_class_without_a_prototype_is_never_predicted_and_its_loss_is_finite():
    few = dataclasses.replace(TINY.training, rounds=1, cohort_size=1)
    result = simulate(TINY, method=config.FedProto(), training=few, evaluation={"every": 1})
    data = load_data("digits")
    shown = set(np.flatnonzero(result.state.shared[CLIENTS]))
    assert len(shown) == 2  # of the one client that has trained
    assert np.isfinite(result.history["test_loss"]).all()
    for client in range(6):
        logits = np.asarray(result.predict(client, data.test.x[:50]))
        assert np.isfinite(logits).all()
        assert set(np.argmax(logits, -1)) <= shown
