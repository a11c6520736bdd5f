"""training.augment: every alteration beside a plain loop; runs that do not depend on the layout."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_run import TINY, same_state

from fedtp_jax import UserError, config, from_arrays, simulate
from fedtp_jax.learning.augmentation import augmented

X = np.random.default_rng(0).normal(size=(64, 8, 16, 2)).astype(np.float32)
BLACK = (-1.5, 0.25)


def of(names, key=0):
    return np.asarray(augmented(names, X, BLACK, jax.random.key(key)))


def test_flipped_images_are_mirrored_or_not():
    found = of(["flip"])
    turned = (found == X[:, :, ::-1]).all((1, 2, 3))
    np.testing.assert_array_equal(found[~turned], X[~turned])
    assert 16 < turned.sum() < 48


def test_cropped_images_are_shifted_and_what_comes_in_is_black():
    found, shifts = of(["crop"]), set()
    for image, before in zip(found, X, strict=True):
        wide = np.full((10, 20, 2), BLACK, np.float32)
        wide[1:9, 2:18] = before
        places = [(r, c) for r in range(3) for c in range(5)]
        fits = [p for p in places if np.allclose(wide[p[0] : p[0] + 8, p[1] : p[1] + 16], image, atol=1e-6)]
        assert len(fits) == 1
        shifts |= {*fits}
    assert len(shifts) > 10


def test_draws_are_the_keys_and_nothing_asked_for_is_nothing_done():
    both = of(["flip", "crop"])
    np.testing.assert_array_equal(both, of(["flip", "crop"]))
    assert not np.array_equal(both, of(["flip", "crop"], key=1))
    np.testing.assert_array_equal(of([]), X)


def run(augment=("flip", "crop"), **engine):
    training = dataclasses.replace(TINY.training, rounds=2, augment=augment)
    return simulate(dataclasses.replace(TINY, training=training, engine=config.Engine(**engine)))


def test_a_run_does_not_depend_on_lanes_and_tests_on_images_as_they_are():
    with_it, without = run(devices=1, lanes=1), run((), devices=1, lanes=1)
    assert not np.array_equal(with_it.history["train_loss"], without.history["train_loss"])
    same_state(with_it.state, run(devices=1, lanes=1).state)
    for found, expected in zip(
        jax.tree.leaves(run(devices=2, lanes=2).state.shared),
        jax.tree.leaves(with_it.state.shared),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_is_no_image_is_not_altered():
    features = from_arrays(X[:, 0, 0], np.arange(64) % 2)
    with pytest.raises(UserError, match=r"training.augment: flip alter images, but the data gives features"):
        simulate(data=features, model="mlp", method="fedavg", partition="iid", training={"augment": "flip"})
