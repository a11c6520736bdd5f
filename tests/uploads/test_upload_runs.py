"""What becomes of uploads: beside a plain loop, by every method, on any layout, resumed."""

import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest
from marks import every_day
from method_cases import CLIENTS, METHODS, one_step, simulator
from other_tasks import DATA, TRAINING, of_clients, run

from fedtp_jax import UserError, config, simulate
from fedtp_jax.config.load import from_dict
from fedtp_jax.uploads.transform import norm_of

ROUNDS, RATE = TRAINING["rounds"], TRAINING["learning_rate"]


def chain(*steps):
    return from_dict({"upload": [*steps]}).upload


def federated_linear(steps):
    """FedAvg of linear models, a step a round, changes clipped, sparsified and fed back: a plain loop."""
    data = DATA["regression"]
    mean, std = data.train.y.mean(0), data.train.y.std(0)
    w = np.zeros((6, 2))  # the last row is the bias
    left = [np.zeros((6, 2)) for _ in range(4)]
    sizes = np.array([len(x) for x, _ in of_clients(data.train)])
    for _ in range(ROUNDS):
        sent = []
        for k, (x, y) in enumerate(of_clients(data.train)):
            x = np.column_stack([x, np.ones(len(x))])
            gap = x @ w - (y - mean) / std
            change = -RATE * x.T @ (2 * gap) / gap.size
            if "norm" in steps:
                change *= min(1, steps["norm"] / np.linalg.norm(change))
            if "share" in steps:
                change = change + left[k]
                order = np.argsort(-np.abs(change), axis=None)[: round(steps["share"] * 12)]
                kept = np.zeros(12)
                kept[order] = change.reshape(-1)[order]
                left[k] = change - kept.reshape(6, 2)
                change = kept.reshape(6, 2)
            sent.append(change)
        w = w + sum(p * change for p, change in zip(sizes / sizes.sum(), sent, strict=True))
    return w


ZERO = {"params": {"head": {"kernel": np.zeros((5, 2), np.float32), "bias": np.zeros(2, np.float32)}}}


@pytest.mark.parametrize("steps", [{"norm": 0.05}, {"share": 0.25}, {"norm": 0.1, "share": 0.4}], ids=str)
def test_it_is_what_a_plain_loop_does(steps):
    upload = [{"name": "clip", "norm": steps["norm"]}] if "norm" in steps else []
    upload += [{"name": "top_k", "share": steps["share"]}] if "share" in steps else []
    head = run("regression", init=ZERO, upload=upload).variables(0)["params"]["head"]
    expected = federated_linear(steps)
    np.testing.assert_allclose(head["kernel"], expected[:5], atol=2e-6)
    np.testing.assert_allclose(head["bias"], expected[5], atol=2e-6)


def test_a_generated_and_a_shared_change_are_one_vector():
    sent = {}
    for norm in (1e-3, 1e9):
        sim = simulator("fedtp", "vit", upload=chain({"name": "clip", "norm": norm}))
        state = sim.method.init(jax.random.key(1), np.arange(1))
        shared, rows = sim.method.send(state)
        upload, kept = one_step(sim, shared, {path: leaf[0] for path, leaf in rows.items()})
        changes = {p: upload.shared[p] / upload.weight - shared[p] for p in upload.shared}
        changes |= {p: -c / upload.weight for p, c in kept.cotangent.items()}
        sent[norm] = float(norm_of(changes))
    assert sent[1e-3] == pytest.approx(1e-3, rel=2e-2) and sent[1e9] > 1e-2


def after_rounds(name, model="vit", rounds=3, **settings):
    sim = simulator(name, model, **settings)
    state = sim.init()
    for round in range(rounds):
        state, result = sim.round(state, round, sim.prepare(round))
    return sim, sim.fetch(state), result


STEPS = {
    "clip": [{"name": "clip", "norm": 0.05}],
    "noise": [{"name": "clip", "norm": 0.05}, {"name": "noise", "multiplier": 0.1}],
    "quantize": [{"name": "quantize", "bits": 4}],
    "top_k": [{"name": "top_k", "share": 0.1}],
    "random_k": [{"name": "random_k", "share": 0.1, "error_feedback": True}],
    "sign": ["sign"],
    "all": [{"name": "clip"}, "noise", {"name": "top_k", "share": 0.3}, {"name": "quantize", "bits": 6}],
}
LAYOUTS = {"lanes": {"lanes": 2}, "waves": {"wave_size": 2}, "devices": {"devices": 2}}
PAIRS = [(steps, layout) for steps in STEPS for layout in LAYOUTS]


@pytest.mark.parametrize(
    ("steps", "layout"), every_day(PAIRS, [("all", "lanes")], [("all", "waves"), ("random_k", "devices")])
)
def test_a_layout_changes_nothing(steps, layout):
    engine = config.Engine(devices=1, lanes=1)
    _, expected, before = after_rounds("fedtp", upload=chain(*STEPS[steps]), engine=engine)
    own = dataclasses.replace(engine, **LAYOUTS[layout])
    _, found, after = after_rounds("fedtp", upload=chain(*STEPS[steps]), engine=own)
    assert before.bytes_up == after.bytes_up
    a, b = (
        jax.tree.leaves((s._replace(rows={}), s.rows.take(np.arange(CLIENTS)))) for s in (expected, found)
    )
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_steps_that_do_nothing_leave_the_bits_as_they_were():
    _, expected, _ = after_rounds("fedtp_per")
    for steps in (
        [{"name": "clip", "norm": 1e6}],
        [{"name": "top_k", "share": 1.0, "error_feedback": False}],
    ):
        _, found, _ = after_rounds("fedtp_per", upload=chain(*steps))
        for one, other in zip(
            jax.tree.leaves(expected._replace(rows={})), jax.tree.leaves(found._replace(rows={})), strict=True
        ):
            np.testing.assert_array_equal(one, other)


def test_a_stopped_run_goes_on_with_what_was_not_sent(tmp_path):
    settings = {
        "upload": STEPS["top_k"],
        "checkpoint": {"every": 1},
        "training": {**TRAINING, "cohort_size": 2},
    }
    whole = run("regression", **settings)

    class Stopped(Exception):
        pass

    def stop(progress):
        if progress.round == 2:
            raise Stopped

    with pytest.raises(Stopped):
        run("regression", **settings, out=tmp_path / "run", on_round=stop)
    again = run("regression", **settings, out=tmp_path / "run", resume=True)
    pd.testing.assert_frame_equal(again.history, whole.history)
    assert whole.history["bytes_up"].iloc[-1] < whole.history["bytes_down"].iloc[-1]


def test_one_that_lost_its_numbers_keeps_what_it_had_not_sent():
    sim = simulator("fedavg", "mlp", upload=chain(*STEPS["top_k"]))
    state = sim.method.init(jax.random.key(1), np.arange(1))
    shared, rows = sim.method.send(state)
    leaves = {p: leaf[0] + (1.0 if p.startswith("upload/") else 0.0) for p, leaf in rows.items()}
    bad = {path: leaf * np.nan for path, leaf in shared.items()}
    upload, kept = one_step(sim, bad, leaves)
    assert float(kept.excluded) == 1 and float(upload.weight) == 0
    for path, left in kept.personal.items():
        np.testing.assert_array_equal(left, leaves[path])


SENDS_MORE = ("fedproto", "scaffold", "fedpac", "fedamp", "pefll")


@pytest.mark.parametrize("name", every_day(list(METHODS), ["fedper", "scaffold", "local"]))
def test_every_method_takes_steps_or_says_why_not(name):
    model = "cnn_bn" if name in ("fedbn", "pfedhn", "pefll", "fedproto") else "vit"
    steps = chain({"name": "clip", "norm": 0.5}, {"name": "top_k", "share": 0.5})
    if name in SENDS_MORE:
        with pytest.raises(UserError, match=f"upload: the clients of method {name} send "):
            simulator(name, model, upload=steps)
    elif name == "local":
        with pytest.raises(UserError, match="upload: the clients of method local send nothing"):
            simulator(name, model, upload=steps)
    else:
        sim, state, result = after_rounds(name, model, 2, upload=steps)
        assert np.isfinite(result.train_loss) and result.bytes_up < result.bytes_down
        leaves = sim.method.variables(state._replace(rows=state.rows.take(np.arange(2))))
        assert not any(path.startswith("upload/") for part in leaves for path in part)
        assert sim.evaluate(sim.place(state)).examples.sum() > 0


def test_it_learns_all_the_same():
    given = {
        "partition": config.Pathological(clients=10, classes_per_client=2),
        "model": {"name": "mlp", "hidden": 32, "layers": 1},
        "method": "fedper",
        "training": {"rounds": 12, "cohort_size": 10, "learning_rate": 0.1},
        "evaluation": {"every": 12},
    }
    plain = simulate(**given)
    small = simulate(**given, upload=[{"name": "top_k", "share": 0.1}, {"name": "quantize", "bits": 4}])
    assert small.accuracy["last"] > plain.accuracy["last"] - 0.05
    assert small.history["bytes_up"].sum() < 0.06 * plain.history["bytes_up"].sum()
