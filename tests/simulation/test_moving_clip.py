"""A clip that follows a quantile of the lengths of clients' changes."""

import numpy as np
import pandas as pd
import pytest
from method_cases import TRAINING, simulator
from private_rounds import POISSON, UNIFORM, private, sums

from fedtp_jax import config, simulate
from fedtp_jax.simulation.private_rounds import PrivateRounds
from fedtp_jax.uploads.private import CLIP, MOVES


def length(leaves):
    return float(np.sqrt(sum(np.sum(np.asarray(leaf, np.float64) ** 2) for leaf in leaves.values())))


def test_a_round_counts_those_that_are_no_longer_and_moves_by_their_share(name="fedtp"):
    whole = private(name, clip=1e9)
    ids = whole.participation.participants(0).ids
    lengths = [3 * length(sums(whole, whole.init(), 0, [int(k)])) for k in ids]
    clip = float(np.median(lengths)) * 1.01
    moving, fixed = private(name, clip=clip, quantile=0.7), private(name, clip=clip)
    moving.private._count = 0.0  # so that what is left is exact
    state = moving.init()
    assert float(state.shared[CLIP]) == np.float32(clip)
    found = sums(moving, state, 0)
    short = sum(one <= clip for one in lengths)
    assert 0 < short < len(lengths)
    assert found.pop(CLIP) == pytest.approx((short - len(lengths) / 2) / 3, abs=1e-6)
    for path, leaf in sums(fixed, fixed.init(), 0).items():
        np.testing.assert_allclose(found[path], leaf, atol=1e-7, err_msg=path)
    after, _ = moving.round(moving.init(), 0, moving.prepare(0))
    share = 0.5 + (short - len(lengths) / 2) / 3
    assert float(after.shared[CLIP]) == pytest.approx(clip * np.exp(-MOVES * (share - 0.7)), rel=1e-6)


def test_count_and_changes_tell_no_more_than_the_noise_says():
    for noise, cohort in ((0.5, 3), (2.0, 3), (1.0, 1000)):
        training = config.Training(cohort_size=cohort, participation=POISSON)
        settings = config.SimulationConfig(
            training=training, privacy=config.Privacy(noise_multiplier=noise, quantile=0.5)
        )
        made = PrivateRounds(settings, 2000, None)
        together = (made._changes**-2 + (2 * made._count) ** -2) ** -0.5
        assert together == pytest.approx(noise) and noise < made._changes < 1.06 * noise
        assert made._count >= cohort / 20


def test_the_count_has_its_noise():
    sim = private("fedavg", "mlp", noise=1.0, clip=1e-6, quantile=0.5)  # all are longer
    moved = []
    for round in range(40):
        after, _ = sim.round(sim.init(), round, sim.prepare(round))
        clients = len(sim.participation.participants(round).ids)
        exact = 0.5 - clients / 2 / 3
        moved.append(-np.log(float(after.shared[CLIP]) / 1e-6) / MOVES + 0.5 - exact)
    assert np.std(moved) == pytest.approx(1.6 / 3, rel=0.3)


GIVEN = {
    "partition": {"name": "iid", "clients": 12},
    "model": {"name": "mlp", "hidden": 8, "layers": 1},
    "method": "fedavg",
    "training": {
        "rounds": 40,
        "cohort_size": 8,
        "learning_rate": 0.1,
        "participation": {"sampling": "poisson"},
    },
    "server": {"weighting": "uniform"},
    "evaluation": {"every": 10},
    "checkpoint": {"every": 10},
    "engine": {"devices": 1},
}


def test_from_wherever_it_begins_it_comes_to_the_same_and_goes_on(tmp_path):
    ends = []
    for clip in (0.05, 2.0):
        given = {**GIVEN, "privacy": {"noise_multiplier": 0.7, "clip": clip, "quantile": 0.5}}
        result = simulate(**given, out=tmp_path / f"{clip}")
        ends.append(result.history["clip"].iloc[-1])
        assert "clip" in result.history and result.history["clip"].notna().sum() == 4
    assert ends[0] == pytest.approx(ends[1], rel=0.4) and 0.05 < ends[0] < 2

    class Stopped(Exception):
        pass

    def stop(progress):
        if progress.round == 25:
            raise Stopped

    with pytest.raises(Stopped):
        simulate(**given, out=tmp_path / "run", on_round=stop)
    again = simulate(**given, out=tmp_path / "run", resume=True)
    pd.testing.assert_frame_equal(again.history, result.history)
    assert CLIP not in again.variables(0)


def test_what_travels_is_a_number_more():
    plain = simulator("fedavg", "mlp", server=UNIFORM, training=TRAINING)
    moving = private("fedavg", "mlp", quantile=0.5)
    assert [b - a for a, b in zip(plain.traffic, moving.traffic, strict=True)] == [4, 4]
