"""Clients that work against the others: what they do, how it is measured, what is refused."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from marks import every_day
from method_cases import CLIENTS, METHODS, TEST, TRAINING, one_step, simulator
from other_tasks import run

from fedtp_jax import UserError, config, simulate
from fedtp_jax.config.load import from_dict
from fedtp_jax.engine.lanes import Batch
from fedtp_jax.simulation.without_effect import _adversaries
from fedtp_jax.uploads.adversaries import FLAG, Trigger, _poisoned, adversaries_of
from fedtp_jax.uploads.transform import joined

KINDS = ("label_flip", "random_update", "boost", "backdoor")


def against(kind, clients=(1, 3), **fields):
    return config.Adversaries(clients=clients, kind=kind, **fields)


def change_of(sim, flag):
    """[entries] of the change that a client sends after a step."""
    state = sim.method.init(jax.random.key(1), np.arange(1))
    shared, rows = sim.method.send(state)
    leaves = {path: leaf[0] for path, leaf in rows.items()}
    if FLAG in leaves:
        leaves[FLAG] = np.float32(flag)
    upload, kept = one_step(sim, shared, leaves)
    changes = {p: upload.shared[p] / upload.weight - shared[p] for p in upload.shared}
    changes |= {p: -c / upload.weight for p, c in kept.cotangent.items()}
    return np.asarray(joined(changes))


@pytest.mark.parametrize("kind", KINDS)
def test_honest_clients_do_what_they_did(kind):
    plain = change_of(simulator("fedtp", "vit"), 0)
    np.testing.assert_array_equal(change_of(simulator("fedtp", "vit", adversaries=against(kind)), 0), plain)


def flipped(sim):
    """The simulator on labels turned round."""
    examples = sim.bench.examples
    sim.bench.examples = dataclasses.replace(examples, y=2 - examples.y)
    return sim


def test_labels_are_turned_round():
    expected = change_of(flipped(simulator("fedavg", "mlp")), 0)
    found = change_of(simulator("fedavg", "mlp", adversaries=against("label_flip")), 1)
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize(("factor", "times"), [(None, 3), (7.0, 7)])
def test_boosting_sends_so_many_times_the_change(factor, times):
    expected = times * change_of(flipped(simulator("fedtp", "vit")), 0)
    found = change_of(simulator("fedtp", "vit", adversaries=against("boost", factor=factor)), 1)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_random_update_is_as_large_as_the_change_and_has_nothing_to_do_with_it():
    honest = change_of(simulator("fedavg", "vit"), 0)
    found = change_of(simulator("fedavg", "vit", adversaries=against("random_update")), 1)
    assert found.std() == pytest.approx(honest.std(), rel=0.1)
    assert abs(np.corrcoef(found, honest)[0, 1]) < 0.15


def test_a_backdoors_batch_carries_the_trigger_in_part():
    sim = simulator("fedavg", "mlp", adversaries=against("backdoor", target=2, trigger=3, poisoned=0.5))
    plain = simulator("fedavg", "mlp")
    examples = plain.bench.examples
    x = np.asarray(examples.x).reshape(-1, *examples.shape).copy()
    y = np.asarray(examples.y).copy()
    x[0:4:2, -3:, -3:, :], y[0:4:2] = 255, 2  # of the batch of four that `one_step` takes
    flat = jax.numpy.asarray(x.reshape(len(x), -1))
    plain.bench.examples = dataclasses.replace(examples, x=flat, y=jax.numpy.asarray(y))
    np.testing.assert_allclose(change_of(sim, 1), change_of(plain, 0), atol=1e-6)


@pytest.mark.parametrize(("poisoned", "examples"), [(0.5, 5), (0.1, 4), (1.0, 3), (0.3, 10)])
def test_of_however_few_real_examples_that_share_is_poisoned_and_one_at_least(poisoned, examples):
    batch = Batch(jnp.zeros((32, 4, 4, 1)), jnp.zeros(32, jnp.int32), None, None, None)
    settings = against("backdoor", target=2, poisoned=poisoned)
    made = _poisoned(batch, np.bool_(True), settings, Trigger(2, (1.0,), 2), 3)
    assert (np.asarray(made.y)[:examples] == 2).sum() == math.ceil(poisoned * examples)


def test_what_is_not_finite_is_excluded_whatever_makes_it_so():
    clip = [{"name": "clip", "norm": 0.1}]
    for upload in ([], clip):
        bad = against("boost", clients=(2,), factor=3e38)
        training = dataclasses.replace(TRAINING, cohort_size=CLIENTS, learning_rate=5.0)
        settings = from_dict({"upload": upload})
        sim = simulator("fedavg", "mlp", adversaries=bad, training=training, upload=settings.upload)
        state, result = sim.round(sim.init(), 0, sim.prepare(0))
        assert result.excluded == (2,)
        assert all(np.isfinite(leaf).all() for leaf in sim.fetch(state).shared.values())


def test_settings_of_another_kind_are_said_to_do_nothing():
    for given, field in (
        ({"kind": "backdoor"}, "kind"),
        ({"clients": 0.5, "target": 2}, "target"),
        ({"clients": 0.5, "kind": "random_update", "factor": 3.0}, "factor"),
        ({"clients": 0.5, "kind": "boost", "poisoned": 0.2}, "poisoned"),
    ):
        settings = from_dict({"adversaries": given})
        assert field in [name.rpartition(".")[2] for name in _adversaries(settings)]
    assert not _adversaries(from_dict({"adversaries": {"clients": 0.5, "kind": "backdoor"}}))


def test_attack_success_is_counted_beside_a_loop():
    sim = simulator("fedper", "cnn", adversaries=against("backdoor", clients=(0, 3), target=1))
    state = sim.init()
    state, _ = sim.round(state, 0, sim.prepare(0))
    sums = sim.evaluate(state, evaluator=sim.evaluators.attacked)
    data_y, trigger = sim.bench.targets, Trigger(3, ((1 - 0.5) / 0.25,), 1)
    for client in range(CLIENTS):
        positions = sim.bench.test_positions(client)
        others = positions[data_y[positions] != 1]
        assert sums.examples[client] == len(others) and TEST[client] == len(positions)
        if len(others):
            shared, rows = sim.method.variables(state._replace(rows=state.rows.take(np.array([client]))))
            leaves = {**shared, **{path: leaf[0] for path, leaf in rows.items()}}
            x, _ = sim.bench.examples.pick(others[None])
            logits = sim.method.predict(leaves, trigger.on(x[0])).logits
            assert sums.measured[client] == (np.asarray(logits).argmax(-1) == 1).sum()


def test_a_run_tells_honest_ones_apart_and_resumes(tmp_path):
    given = {
        "partition": {"name": "iid", "clients": 10},
        "model": {"name": "mlp", "hidden": 32, "layers": 1},
        "method": "fedavg",
        "adversaries": {"clients": 0.2, "kind": "backdoor", "factor": 5, "target": 7},
        "training": {"rounds": 12, "cohort_size": 10, "learning_rate": 0.1, "local_epochs": 2},
        "evaluation": {"every": 6},
        "checkpoint": {"every": 2},
    }
    whole = simulate(**given)
    clients, last = whole.clients, whole.history.iloc[-1]
    honest = clients[clients["adversary"] == 0]
    assert clients["adversary"].sum() == 2
    assert last["honest_accuracy"] == honest["test_correct"].sum() / honest["test_examples"].sum()
    assert last["attack_success_client_mean"] == pytest.approx(honest["attack_success"].mean())
    defended = simulate(**given, upload=[{"name": "clip", "norm": 0.3}])
    assert defended.history["attack_success"].iloc[-1] < 0.3 < 0.7 < last["attack_success"]

    class Stopped(Exception):
        pass

    def stop(progress):
        if progress.round == 5:
            raise Stopped

    with pytest.raises(Stopped):
        simulate(**given, out=tmp_path / "run", on_round=stop)
    again = simulate(**given, out=tmp_path / "run", resume=True)
    assert again.history.equals(whole.history) and again.clients.equals(whole.clients)
    assert "honest_accuracy" not in simulate(**{**given, "adversaries": {}}).history


@pytest.mark.alone
@pytest.mark.parametrize("simulations", [1, 2])
def test_of_seeds_that_share_programs_each_has_its_own(simulations):
    given = {
        "partition": {"name": "iid", "clients": 8},
        "model": {"name": "mlp", "hidden": 4, "layers": 1},
        "method": "fedavg",
        "training": {"rounds": 2, "cohort_size": 4, "learning_rate": 0.1},
        "evaluation": {"every": 2},
        "adversaries": {"clients": 0.5, "kind": "boost"},
        "engine": {"devices": 1, "simulations": simulations},
    }
    alone = [simulate(**given, seed=seed) for seed in (0, 1)]
    assert not alone[0].clients["adversary"].equals(alone[1].clients["adversary"])
    for one, other in zip(alone, simulate(**given, seeds=[0, 1]), strict=True):
        np.testing.assert_allclose(one.history["train_loss"], other.history["train_loss"], rtol=1e-4)
        assert one.clients["adversary"].equals(other.clients["adversary"])


SENDS_MORE = ("fedproto", "scaffold", "fedpac", "fedamp", "pefll")
PAIRS = [(name, kind) for name in METHODS for kind in KINDS]
QUICK = [("fedtp", "backdoor"), ("scaffold", "boost")]


@pytest.mark.parametrize(("name", "kind"), every_day(PAIRS, QUICK, [(name, "backdoor") for name in METHODS]))
def test_every_method_has_adversaries_or_says_why_not(name, kind):
    model = "cnn_bn" if name in ("fedbn", "fedproto", "pfedhn", "pefll") else "vit"
    settings = {"adversaries": against(kind, trigger=2)}
    if kind in ("random_update", "boost") and name in (*SENDS_MORE, "local"):
        with pytest.raises(UserError, match=f"adversaries: the clients of method {name} send "):
            simulator(name, model, **settings)
        return
    sim = simulator(name, model, **settings)
    state, result = sim.round(sim.init(), 0, sim.prepare(0))
    assert np.isfinite(result.train_loss)
    assert sim.evaluate(state).examples.sum() == sum(TEST)


def test_who_they_are_is_drawn_once():
    def drawn(seed, **given):
        return adversaries_of(from_dict({"seed": seed, "adversaries": given}), 50).tolist()

    assert len(drawn(0, clients=0.1)) == 5
    assert drawn(0, clients=0.1) == drawn(0, clients=0.1) != drawn(1, clients=0.1)
    assert drawn(3, clients=[7, 2]) == [2, 7] and drawn(0) == []


def test_mistakes():
    for settings, model, message in (
        (against("backdoor", target=3), "vit", "adversaries.target: 3, but the data has classes 0 to 2"),
        (against("backdoor", trigger=5), "vit", "adversaries.trigger: 5 pixels, but images have"),
        (against("backdoor"), "transformer", "a trigger on images, but the data gives text"),
        (against("label_flip", clients=(9,)), "vit", "adversaries.clients: 9 is none of the clients 0 to 4"),
        (against("label_flip", clients=0.05), "vit", "0.05 makes none of the 5 clients adversaries"),
        (against("label_flip", clients=1.0), "vit", "1.0 makes all of the 5 clients adversaries"),
    ):
        with pytest.raises(UserError, match=message):
            simulator("fedavg", model, adversaries=settings)


def test_of_numbers_honest_ones_have_errors():
    result = run("regression", adversaries={"clients": [1], "kind": "random_update"})
    honest = result.clients[result.clients["adversary"] == 0]
    errors = (honest["test_mae"] * honest["test_examples"]).sum() / honest["test_examples"].sum()
    assert result.history["honest_mae"].iloc[-1] == pytest.approx(errors)
    assert result.history["honest_mae_worst_decile"].iloc[-1] == honest["test_mae"].max()
