"""The training loss by class and with smoothed labels, beside scikit-learn and plain NumPy."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight
from tiny_run import TINY

from fedtp_jax import UserError, config, from_arrays, simulate
from fedtp_jax.engine.lanes import Batch
from fedtp_jax.learning.task import Task
from fedtp_jax.models.inputs import Inputs
from fedtp_jax.simulation.class_weights import class_weights

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(90, 3)), np.array([0] * 60 + [1] * 20 + [2] * 10)
DATA = from_arrays(X, Y, X, Y)


def asked(weights, **more):
    return dataclasses.replace(TINY, task=config.Task(class_weights=weights, **more))


def test_balanced_weights_are_scikit_learns():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=Y)
    np.testing.assert_allclose(class_weights(asked("balanced"), DATA), expected)
    rare = from_arrays(X, Y, X, Y, num_classes=4)
    np.testing.assert_allclose(class_weights(asked("balanced"), rare), [*expected, 1.0])
    assert class_weights(asked((1, 0, 2.5)), DATA) == (1.0, 0.0, 2.5)
    assert class_weights(asked("none"), DATA) is None


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 1.0)])
def test_losses_are_the_equation(smoothing, weights):
    task = Task(
        None, Inputs("features", (3,)), 3, 1, TINY.training, class_weights=weights, label_smoothing=smoothing
    )
    logits, y = RNG.normal(size=(5, 3)), np.array([0, 1, 2, 2, 0])
    found = task.losses(jnp.asarray(logits), Batch(None, jnp.asarray(y), jnp.ones(5), None, None))
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    target = (1 - smoothing) * np.eye(3)[y] + smoothing / 3
    expected = -(target * log_p).sum(1) * (np.ones(3) if weights is None else np.array(weights))[y]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_run_trains_by_them_and_is_tested_by_the_plain_loss():
    def run(**task):
        return simulate(
            data=DATA,
            partition=config.Iid(clients=3),
            model={"name": "mlp", "layers": 0},
            method="fedavg",
            task=task,
            training={"rounds": 20, "cohort_size": 3, "learning_rate": 0.1},
            evaluation={"every": 20, "metrics": ["balanced_accuracy"]},
        )

    plain, balanced, one = run(), run(class_weights="balanced"), run(class_weights=[1, 1, 1])
    assert one.history.equals(plain.history)
    assert balanced.history["train_loss"].iloc[0] != plain.history["train_loss"].iloc[0]
    predicted = [np.bincount(np.argmax(r.predict(0, X), -1), minlength=3)[0] for r in (plain, balanced)]
    assert predicted[1] < predicted[0], "the largest class draws less"
    assert balanced.data_spec.class_weights == class_weights(asked("balanced"), DATA)


def test_what_does_not_fit_is_said():
    def told(weights, data, pattern):
        with pytest.raises(UserError, match=pattern):
            class_weights(asked(weights), data)

    told((1.0, 2.0), DATA, r"task.class_weights: 2 weights, but the data has 3 classes; give one for each")
    told((1.0, -2.0, 0.0), DATA, r"expected numbers of at least 0")
    told((0.0,) * 3, DATA, r"not all of them 0")
    text = from_arrays(RNG.integers(0, 5, (20, 4)), kind="tokens")
    told("balanced", text, r"every position of a text has a label; give a list of 5 weights")
    weighted = dataclasses.replace(DATA, class_weights=(1.0, 1.0, 2.0))
    told("balanced", weighted, r"but data.class_weights gives the authors' too; leave one out")
    with pytest.raises(
        UserError, match=r"task.class_weights: got 'even', expected 'none' or 'balanced' or a"
    ):
        simulate(task={"class_weights": "even"})
