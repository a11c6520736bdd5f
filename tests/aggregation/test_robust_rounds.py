"""Rounds whose server holds clients' changes one by one, beside a loop over clients."""

import dataclasses

import jax
import numpy as np
import pytest
from marks import every_day
from method_cases import CLIENTS, TRAINING, simulator
from tiny_run import same_files

from fedtp_jax import config, simulate
from fedtp_jax.core import rng
from fedtp_jax.simulation import held_changes

UNIFORM = config.Server(weighting="uniform")
ALL = dataclasses.replace(TRAINING, cohort_size=CLIENTS)
RULES = {
    "median": config.Median(),
    "trimmed_mean": config.TrimmedMean(share=0.25),
    "krum": config.Krum(attackers=1, selected=2),
    "geometric_median": config.GeometricMedian(),
}


def robust(name, rule, model="vit", training=ALL, **settings):
    weighting = settings.pop("weighting", "uniform")
    server = config.Server(weighting=weighting, aggregation=RULES.get(rule, rule))
    return simulator(name, model, training=training, server=server, **settings)


def combined(sim, state, round=0):
    """What the server makes of a round: {path: change}, gradients of the hypernetwork under generator/."""
    seen = []
    real = sim.held.combined
    sim.held.combined = lambda totals: seen.append(real(totals)) or seen[0]
    state, _ = sim.round(state, round, sim.prepare(round))
    upload, gradient = jax.device_get(seen[0])
    assert upload.weight == 1
    return {**upload.shared, **{f"generator/{path}": leaf for path, leaf in gradient.items()}}, state


def alone(sim, round=0):
    """[(weight, {path: change})] of each client of the cohort, each as a wave of its own."""
    found, key = [], rng.key(sim.config.seed, rng.Purpose.CLIENT, round)
    ids, steps, *_ = sim.participation.participants(round)
    state = sim.init()
    server, shared = state._replace(rows={}), sim.fetch(state).shared
    for k, n in zip(ids.tolist(), steps.tolist(), strict=True):
        wave = sim.prepare_wave(np.array([k]), [sim._batches(round, k, n)], ids)
        rows = sim.bench.split(sim.embeddings.rows(state, list(sim.initial.own_row), round)(wave.ids))
        totals = sim._zero_totals(server)
        (upload, gradient), _ = jax.jit(sim._train_wave)(
            server, rows, totals, wave.wave, sim.bench.examples, key
        )
        p = float(upload.weight)
        change = {path: np.asarray(leaf) / p - shared[path] for path, leaf in upload.shared.items()}
        change |= {f"generator/{path}": np.asarray(leaf) / p for path, leaf in gradient.items()}
        found.append((p, change))
    return found


def by_loop(rule, clients):
    """{path: change} that a rule makes of what clients changed."""
    paths = sorted(clients[0][1])
    changes = np.stack([np.concatenate([one[p].reshape(-1) for p in paths]) for _, one in clients])
    p = np.array([weight for weight, _ in clients])
    n = len(p)
    if rule == "median":
        made = np.median(changes, 0)
    elif rule == "trimmed_mean":
        cut = int(0.25 * n)
        made = np.sort(changes, 0)[cut : n - cut].mean(0)
    elif rule == "krum":
        apart = [[np.sum((a - b) ** 2) for b in changes] for a in changes]
        scores = [sum(sorted(row)[1 : 1 + n - 1 - 2]) for row in apart]
        made = changes[np.argsort(scores)[:2]].mean(0)
    else:
        made = p @ changes / p.sum()
        for _ in range(100):
            away = np.array([max(np.linalg.norm(one - made), 1e-6) for one in changes])
            made = (p / away) @ changes / (p / away).sum()
    places = np.cumsum([clients[0][1][path].size for path in paths])[:-1]
    parts = zip(paths, np.split(made, places), strict=True)
    return {path: part.reshape(clients[0][1][path].shape) for path, part in parts}


CASES = [(name, rule) for name in ("fedavg", "fedtp", "fedtp_per", "vanilla") for rule in RULES]


@pytest.mark.parametrize(
    ("name", "rule"),
    every_day(CASES, [("fedtp", "krum"), ("fedtp", "median"), ("vanilla", "geometric_median")]),
)
def test_it_is_what_a_loop_over_clients_makes(name, rule):
    weighting = "examples" if rule == "geometric_median" else "uniform"
    clients = alone(simulator(name, "vit", training=ALL, server=config.Server(weighting=weighting)))
    sim = robust(name, rule, weighting=weighting)
    found, state = combined(sim, sim.init())
    expected = by_loop(rule, clients)
    assert found.keys() == expected.keys()
    for path in expected:
        np.testing.assert_allclose(found[path], expected[path], atol=3e-6, err_msg=path)
    before, after = sim.fetch(sim.init()).shared, sim.fetch(state).shared
    for path, leaf in after.items():  # the default server takes what came
        np.testing.assert_allclose(leaf, before[path] + expected[path], atol=3e-6)


@pytest.mark.parametrize("name", every_day(["fedavg", "fedtp"], ["fedtp"]))
def test_a_mean_of_which_nothing_is_trimmed_is_the_mean(name):
    plain, sim = (
        simulator(name, "vit", server=UNIFORM),
        robust(name, config.TrimmedMean(share=0), training=TRAINING),
    )
    states = []
    for one in (plain, sim):
        state = one.init()
        for round in range(2):
            state, _ = one.round(state, round, one.prepare(round))
        state = one.fetch(state)
        states.append((state._replace(rows={}), state.rows.take(np.arange(CLIENTS))))
    for a, b in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


LAYOUTS = {"lanes": {"lanes": 2}, "waves": {"wave_size": 2}}


@pytest.mark.parametrize("rule", every_day(list(RULES), ["krum"]))
def test_layouts_and_chunks_change_nothing(rule, monkeypatch):
    expected, _ = combined(whole := robust("fedtp", rule), whole.init())
    for fields in LAYOUTS.values():
        engine = dataclasses.replace(config.Engine(devices=1, lanes=1), **fields)
        monkeypatch.setattr(held_changes, "NUMBERS", 5 * 32)
        sim = robust("fedtp", rule, engine=engine)
        found, _ = combined(sim, sim.init())
        for path in expected:
            np.testing.assert_allclose(found[path], expected[path], atol=2e-6)


@pytest.mark.parametrize("rule", ["median", {"name": "krum", "selected": 2}])
def test_devices_share_the_columns_and_the_hypernetwork(rule):
    """Of the hypernetwork the wide heads lie on both devices in part."""
    wide = {"name": "vit", "patch_size": 4, "dim": 64, "depth": 1, "heads": 2, "dim_head": 32, "mlp_dim": 8}
    given = {
        "partition": {"name": "iid", "clients": 6},
        "model": wide,
        "method": {"name": "fedtp", "hypernetwork": {"embedding": 3, "hidden": 4, "layers": 1}},
        "training": {"rounds": 2, "cohort_size": 5, "learning_rate": 0.1, "local_steps": 2},
        "evaluation": {"every": 2},
        "server": {"weighting": "uniform", "aggregation": rule},
    }
    one, two = (simulate(**given, engine={"devices": devices}).state for devices in (1, 2))
    assert any(leaf.size >= 4 * 4096 for leaf in one.generator.values())
    for part in ("shared", "generator"):
        for path, leaf in getattr(one, part).items():
            np.testing.assert_allclose(leaf, getattr(two, part)[path], atol=2e-5, err_msg=path)


def test_a_client_without_numbers_is_not_there():
    sim = robust("fedavg", "median", "mlp", training=dataclasses.replace(ALL, learning_rate=1e30))
    rows = {held_changes.CHANGE: np.full((3, sim.held.row_bytes // 4), 2.0), held_changes.WEIGHT: np.ones(3)}
    rows[held_changes.CHANGE][1] = np.nan
    assert sim.held.taken(np.array([4, CLIENTS, 0]), {**rows, "own": 1}) == {"own": 1}
    upload, _ = jax.device_get(sim.held.combined(None))
    assert all((leaf == 2).all() for leaf in upload.shared.values())


GIVEN = {
    "partition": {"name": "iid", "clients": 8},
    "model": {"name": "vit", "patch_size": 4, "dim": 8, "depth": 1, "heads": 2, "dim_head": 4, "mlp_dim": 8},
    "method": {"name": "fedtp", "hypernetwork": {"embedding": 3, "hidden": 4, "layers": 1}},
    "training": {"rounds": 6, "cohort_size": 4, "learning_rate": 0.1},
    "evaluation": {"every": 3},
    "checkpoint": {"every": 2},
    "server": {"weighting": "uniform", "aggregation": "median"},
    "engine": {"devices": 1},
}


def test_a_resumed_run_is_the_whole_one(tmp_path):
    class Stopped(Exception):
        pass

    def stop(progress):
        if progress.round == 3:
            raise Stopped

    simulate(**GIVEN, out=tmp_path / "whole")
    with pytest.raises(Stopped):
        simulate(**GIVEN, out=tmp_path / "run", on_round=stop)
    simulate(**GIVEN, out=tmp_path / "run", resume=True)
    same_files(tmp_path / "run", tmp_path / "whole")


def test_boosted_uploads_are_outvoted():
    """Flipped labels times ten: the mean is lost, a median is not."""
    task = {
        "partition": {"name": "iid", "clients": 10},
        "model": {"name": "mlp", "hidden": 16, "layers": 1},
        "method": "fedavg",
        "adversaries": {"clients": 0.3, "kind": "boost", "factor": 10},
        "training": {"rounds": 10, "cohort_size": 10, "learning_rate": 0.1},
        "evaluation": {"every": 10},
    }
    reached = [
        simulate(**task, server={"weighting": "uniform", "aggregation": rule})
        .history["honest_accuracy"]
        .iloc[-1]
        for rule in ("mean", "median")
    ]
    assert reached[0] < 0.3 < 0.7 < reached[1]


@pytest.mark.parametrize("rule", ["krum", "geometric_median"])
def test_who_sends_what_float32_cannot_hold_is_excluded(rule):
    bad = config.Adversaries(clients=(2,), kind="boost", factor=1e21)
    sim = robust("fedavg", rule, "mlp", adversaries=bad)
    state = sim.init()
    for round in range(2):
        state, result = sim.round(state, round, sim.prepare(round))
        assert result.excluded == (2,)
    assert all(np.isfinite(leaf).all() for leaf in sim.fetch(state).shared.values())


def test_poisson_cohorts_of_any_size_and_dropouts():
    part = config.Participation(sampling="poisson", dropout=0.3)
    training = dataclasses.replace(TRAINING, cohort_size=2, participation=part)
    sim = robust("fedavg", "geometric_median", "mlp", training=training)
    state, sizes = sim.init(), set()
    for round in range(12):
        state, result = sim.round(state, round, sim.prepare(round))
        sizes.add(result.clients)
    assert len(sizes) > 2
    assert all(np.isfinite(leaf).all() for leaf in sim.fetch(state).shared.values())
