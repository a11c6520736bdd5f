"""User-level privacy: bounds beside a loop over clients, noise, and what is refused."""

import dataclasses

import jax
import numpy as np
import pytest
from marks import every_day
from method_cases import CLIENTS, HYPER, METHODS, TRAINING, one_step, simulator
from private_rounds import POISSON, UNIFORM, private, sums

from fedtp_jax import UserError, config
from fedtp_jax.config.load import from_dict
from fedtp_jax.core.tree import num_bytes


def length(leaves):
    return float(np.sqrt(sum(np.sum(np.asarray(leaf, np.float64) ** 2) for leaf in leaves.values())))


# ------------------------------------------------------------------------------------------------ bounds


BASED = config.FedTP(hypernetwork=dataclasses.replace(HYPER, base=True))


@pytest.mark.parametrize(
    "name", every_day(["fedtp", BASED, "fedtp_per", "fedper", "vanilla"], ["fedtp"]), ids=str
)
def test_the_sum_is_that_of_clients_changes_each_shortened(name):
    """Each client alone and unclipped; its gradient of the hypernetwork by the vjp of the plain method."""
    whole = private(name, clip=1e9)
    ids = whole.participation.participants(0).ids
    assert 1 < len(ids) < CLIENTS
    alone = [sums(whole, whole.init(), 0, [int(k)]) for k in ids]
    lengths = [3 * length(one) for one in alone]  # sums are over the three clients that come on the mean
    clip = float(np.median(lengths)) * 1.01
    expected = {
        path: sum(one[path] * min(1, clip / size) for one, size in zip(alone, lengths, strict=True))
        for path in alone[0]
    }
    bounded = private(name, clip=clip)
    found = sums(bounded, bounded.init(), 0)
    assert min(lengths) < clip < max(lengths)
    for path in expected:
        np.testing.assert_allclose(found[path], expected[path], atol=2e-7, err_msg=path)
    if name in ("fedtp", BASED, "fedtp_per"):
        assert any(path.startswith("generator/") and np.any(leaf) for path, leaf in found.items())


def test_an_unclipped_change_is_the_plain_methods():
    settings = {"training": dataclasses.replace(TRAINING, participation=POISSON), "server": UNIFORM}
    plain = simulator("fedtp", "vit", **settings)
    state, _ = plain.round(plain.init(), 0, plain.prepare(0))
    bounded = private("fedtp", clip=1e9)
    ids = bounded.participation.participants(0).ids
    found, before = sums(bounded, bounded.init(), 0), plain.fetch(plain.init()).shared
    for path, leaf in plain.fetch(state).shared.items():  # there the mean is over those that came
        np.testing.assert_allclose(leaf, before[path] + found[path] * 3 / len(ids), atol=1e-6)


def test_the_denominator_is_fixed_and_the_server_moves_by_the_noisy_mean():
    sim = private("fedavg", "mlp", noise=0.5, clip=0.1)
    state = sim.init()
    before, key_of = sim.fetch(sim.init()).shared, {}
    total = sums(sim, state, 1)
    after, _ = sim.round(sim.init(), 1, sim.prepare(1))
    for path, leaf in sim.fetch(after).shared.items():
        key_of[path] = np.asarray(leaf) - before[path] - total[path]
    drawn = np.concatenate([noise.reshape(-1) for noise in key_of.values()])
    assert drawn.std() == pytest.approx(0.5 * 0.1 / 3, rel=0.25)


def test_a_round_to_which_nobody_comes_has_noise_all_the_same():
    sim = private("fedavg", "mlp", noise=0.5, cohort=1)
    round = next(r for r in range(200) if not len(sim.participation.participants(r).ids))
    before = sim.fetch(sim.init()).shared
    state, result = sim.round(sim.init(), round, sim.prepare(round))
    assert result.void and result.clients == 0
    assert all(np.any(np.asarray(leaf) != before[path]) for path, leaf in sim.fetch(state).shared.items())


def test_a_client_without_numbers_adds_nothing():
    sim = private("fedavg", "mlp")
    state = sim.method.init(jax.random.key(0), np.arange(1))
    shared, rows = sim.method.send(state)
    bad = {path: leaf * np.nan for path, leaf in shared.items()}
    upload, kept = one_step(sim, bad, {path: leaf[0] for path, leaf in rows.items()})
    assert float(kept.excluded) == 1
    assert not any(np.asarray(leaf).any() for leaf in upload.shared.values())


def test_what_travels_is_what_travelled():
    """What the clip needs of the hypernetwork is no traffic: the server computes it."""
    plain, bounded = simulator("fedtp", "vit"), private("fedtp")
    assert plain.traffic == bounded.traffic
    assert num_bytes(bounded.initial.server.generator) > 0


LAYOUTS = {"lanes": {"lanes": 2}, "waves": {"wave_size": 2}, "devices": {"devices": 2}}


@pytest.mark.parametrize("layout", every_day(list(LAYOUTS), ["lanes"]))
def test_a_layout_changes_nothing(layout):
    engine = config.Engine(devices=1, lanes=1)
    states = []
    for fields in ({}, LAYOUTS[layout]):
        sim = private("fedtp", noise=0.3, engine=dataclasses.replace(engine, **fields))
        state = sim.init()
        for round in range(2):
            state, _ = sim.round(state, round, sim.prepare(round))
        state = sim.fetch(state)
        states.append((state._replace(rows={}), state.rows.take(np.arange(CLIENTS))))
    for one, other in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


REFUSED = {
    "local": "nothing",
    "fedproto": "prototypes",
    "scaffold": "control",
    "fedpac": "",
    "fedamp": "",
    "pefll": "more than changes",
}


@pytest.mark.parametrize("name", every_day(list(METHODS), ["fedper", "scaffold"]))
def test_every_method_is_private_or_says_why_not(name):
    model = "cnn_bn" if name == "fedbn" else "cnn" if name in ("pfedhn", "pefll", "fedproto") else "vit"
    if name in REFUSED:
        plain = config.Optimizer("sgd")
        training = dataclasses.replace(TRAINING, optimizer=plain, participation=POISSON, local_epochs=2)
        training = (
            training if name in ("scaffold", "fedpac") else dataclasses.replace(training, local_epochs=1)
        )
        with pytest.raises(UserError, match=f"privacy: the clients of method {name} send .*{REFUSED[name]}"):
            private(name, model, training=training)
        return
    sim = private(name, model, noise=0.1)
    state, _ = sim.round(sim.init(), 0, sim.prepare(0))
    assert all(np.isfinite(leaf).all() for leaf in sim.fetch(state).shared.values())
    assert sim.evaluate(state).examples.sum() > 0


def test_running_statistics_in_clear_are_refused():
    with pytest.raises(UserError, match=r"send batch_stats/.*, running statistics of their examples"):
        private("fedavg", "cnn_bn")


def test_what_the_embeddings_learn_does_not_tell_how_many_came():
    """They are divided by one and the same number, and stepped if nobody came."""
    sim = private("fedtp", noise=1e-9, cohort=2)
    rounds = {len(sim.participation.participants(r).ids): r for r in range(60)}
    assert {1, 2, 3} <= {*rounds}
    assert steps(sim, rounds[1]) == steps(sim, rounds[3]) == 1.0
    alone = private("fedtp", cohort=1)
    empty = next(r for r in range(200) if not len(alone.participation.participants(r).ids))
    assert steps(alone, empty) == 1.0


def steps(sim, round):
    """By what the gradients of the embeddings are divided in a round."""
    seen, real = [], sim.embeddings.step

    def step(state, round, ids, gradients, totals):
        seen.append(float(totals[0].weight))
        return real(state, round, ids, gradients, totals)

    sim.embeddings.step = step
    sim.round(sim.init(), round, sim.prepare(round))
    sim.embeddings.step = real
    (weight,) = seen
    return weight


def test_mistakes():
    base = {"privacy": {"epsilon": 8.0}, "server": {"weighting": "uniform"}}
    poisson = {"participation": {"sampling": "poisson"}}
    for settings, message in (
        ({**base, "server": {}, "training": poisson}, "weights by their examples would tell"),
        (base, "accounted for Poisson cohorts"),
        (
            {**base, "training": {"participation": {"sampling": "poisson", "minimum": 2}}},
            "a void round",
        ),
        ({**base, "training": poisson, "upload": ["clip"]}, "upload: beside privacy"),
        ({**base, "training": poisson, "task": {"class_weights": "balanced"}}, "counts all clients' labels"),
        ({"privacy": {"clip": 0.5}}, "privacy.clip: 0.5, but a run is private only with privacy.epsilon or"),
        (
            {**base, "privacy": {"epsilon": 1.0, "noise_multiplier": 1.0}, "training": poisson},
            "but privacy.epsilon is given too",
        ),
    ):
        with pytest.raises(UserError, match=message):
            from_dict(settings)
