"""What private runs spend: beside the accountant, told, and more than an attacker finds out."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from method_cases import CLIENTS, TRAINING
from other_tasks import TRAINING as LINEAR
from other_tasks import run
from private_rounds import private, sums
from scipy.stats import beta

from fedtp_jax import Partition, UserError, config, simulate
from fedtp_jax.results.summary import result_in_words
from fedtp_jax.simulation import accounting


def test_what_rounds_spend_is_what_the_accountant_says():
    assert accounting.epsilon(1.131, 0.1, 200, 1e-5) == pytest.approx(7.984, abs=2e-3)
    spent = [accounting.epsilon(1.131, 0.1, rounds, 1e-5) for rounds in (1, 10, 50)]
    assert spent == sorted(spent) and spent[0] > 1.2


@pytest.mark.slow
@pytest.mark.rare
def test_the_noise_for_an_epsilon_is_found_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    accounting._found.cache_clear()
    privacy = config.Privacy(epsilon=8.0)
    found = accounting.noise_multiplier(privacy, 0.1, 200)
    assert found == pytest.approx(1.131, abs=2e-3)
    assert accounting.epsilon(found, 0.1, 200, 1e-5) <= 8.0
    assert json.loads((tmp_path / "fedtp_jax" / "noise.json").read_text()) == {"8.0 1e-05 0.1 200": found}
    accounting._found.cache_clear()
    monkeypatch.setattr(accounting, "_search", None)
    assert accounting.noise_multiplier(privacy, 0.1, 200) == found
    accounting._found.cache_clear()


SETTINGS = {
    "privacy": {"noise_multiplier": 1.0, "clip": 0.5, "delta": 1e-3},
    "server": {"weighting": "uniform"},
    "training": {**LINEAR, "cohort_size": 2, "participation": {"sampling": "poisson"}},
}


def test_a_run_says_what_it_has_spent_and_resumes(tmp_path):
    whole = run("regression", **SETTINGS, checkpoint={"every": 1})
    spent = whole.history.set_index("round")["epsilon"].dropna()
    assert spent.index.tolist() == [2, 4]
    assert spent[4] == accounting.epsilon(1.0, 0.5, 4, 1e-3) > spent[2]

    class Stopped(Exception):
        pass

    def stop(progress):
        if progress.round == 3:
            raise Stopped

    out = tmp_path / "run"
    with pytest.raises(Stopped):
        run("regression", **SETTINGS, checkpoint={"every": 1}, out=out, on_round=stop)
    again = run("regression", **SETTINGS, checkpoint={"every": 1}, out=out, resume=True)
    pd.testing.assert_frame_equal(again.history, whole.history)
    told = f"differential privacy of clients: epsilon {spent[4]:.3f} at delta 0.001"
    assert told in result_in_words(again) and told in (out / "report.html").read_text()
    assert "epsilon" not in run("regression").history


def test_more_rounds_of_a_given_epsilon_are_another_run(tmp_path, monkeypatch):
    monkeypatch.setattr(accounting, "_found", lambda *about: 1.0)
    given = {
        "privacy": {"epsilon": 5.0, "delta": 1e-3},
        "server": SETTINGS["server"],
        "out": tmp_path / "run",
    }
    run("regression", **given, training=SETTINGS["training"])
    with pytest.raises(
        UserError, match=r"training\.rounds: 6, but .* its noise was found for privacy\.epsilon"
    ):
        run("regression", **given, resume=True, training={**SETTINGS["training"], "rounds": 6})


def test_a_file_of_noises_that_is_no_such_file_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(accounting, "_search", lambda *about: 1.25)
    file, key = tmp_path / "fedtp_jax" / "noise.json", "3.0 1e-05 0.1 7"
    file.parent.mkdir()
    for number, text in enumerate(("5", "[1]", f'{{"{key}": "x"}}', f'{{"{key}": 0.0}}', f'{{"{key}": -2}}')):
        accounting._found.cache_clear()
        file.write_text(text)
        assert accounting.noise_multiplier(config.Privacy(epsilon=3.0), 0.1, 7) == 1.25, number
        assert json.loads(file.read_text())[key] == 1.25
    accounting._found.cache_clear()


@pytest.mark.alone
def test_of_seeds_that_share_programs_each_has_its_own_noise():
    """Who may come, and so the noise for an epsilon, may be another number with each seed."""

    def run_with(**seeds):
        return simulate(
            partition=lambda data, seed: parted(data, 8 if seed == 0 else 4),
            model={"name": "mlp", "hidden": 4, "layers": 1},
            method="fedavg",
            training={"rounds": 2, "cohort_size": 2, "participation": {"sampling": "poisson"}},
            server={"weighting": "uniform"},
            privacy={"epsilon": 2.0, "clip": 0.5},
            evaluation={"every": 2},
            engine={"devices": 1},
            **seeds,
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounting, "_found", lambda target, delta, share, rounds: 4 * share)
        alone, together = run_with(seed=1), run_with(seeds=[0, 1])[1]
    for path, leaf in alone.state.shared.items():
        np.testing.assert_array_equal(leaf, together.state.shared[path])


def parted(data, clients):
    """A partition of eight clients, of whom so many have train examples."""
    train = [*np.array_split(np.arange(len(data.train)), clients), *[np.zeros(0, int)] * (8 - clients)]
    return Partition.from_lists(train, np.array_split(np.arange(len(data.test)), 8))


# ------------------------------------------------------------------------------------------------- audit

TRIALS = 2000


def projections(noise, without, tmp_path):
    """What the server moves by in TRIALS rounds that all begin at the initial state, less what others add.

    Whether client 2 takes part is what an attacker who knows all else wants to know; (moves, its own change).
    """
    trace = None
    if without:
        trace = tmp_path / "trace.csv"
        trace.write_text("client,first_round,last_round\n2,999998,999999\n")
    training = dataclasses.replace(
        TRAINING,
        cohort_size=2,
        batch_size=8,
        participation=config.Participation(sampling="poisson", trace=str(trace) if trace else None),
    )
    sim = private("fedavg", "mlp", noise=noise, clip=0.01, training=training)
    before = sim.fetch(sim.init()).shared
    alone = {}
    for round in range(100):
        for k in sim.participation.participants(round).ids.tolist():
            if k not in alone:
                alone[k] = sums(sim, sim.init(), round, [k])
        if len(alone) == CLIENTS - without:
            break
    found = []
    for round in range(TRIALS):
        state, _ = sim.round(sim.init(), round, sim.prepare(round))
        after = sim.fetch(state).shared
        others = [alone[k] for k in sim.participation.participants(round).ids.tolist() if k != 2]
        moved = {p: np.asarray(after[p]) - before[p] - sum(one[p] for one in others) for p in before}
        found.append(moved)
    return found, alone.get(2)


@pytest.mark.slow
def test_a_planted_client_is_found_less_often_than_epsilon_allows(tmp_path):
    """The likelihood ratio grows with the projection on its change; half the trials choose the threshold."""
    bounds = {}
    for noise in (1.0, 1e-6):
        with_it, own = projections(noise, False, tmp_path)
        without, _ = projections(noise, True, tmp_path)
        size = sum(np.sum(leaf**2) for leaf in own.values())
        seen = np.array(
            [[sum(np.sum(m[p] * own[p]) for p in own) / size for m in all] for all in (with_it, without)]
        )
        first, last = seen[:, : TRIALS // 2], seen[:, TRIALS // 2 :]
        best = max(np.quantile(first, np.linspace(0.02, 0.98, 97)), key=lambda t: _bound(first, t))
        bounds[noise] = _bound(last, best)
    epsilon = accounting.epsilon(1.0, 2 / CLIENTS, 1, 1e-5)
    assert 0 < bounds[1.0] < epsilon < bounds[1e-6], (bounds, epsilon)


def _bound(seen, threshold):
    hits, false = (seen > threshold).sum(1)
    count = seen.shape[1]
    true_rate = beta.ppf(0.025, hits, count - hits + 1) if hits else 0.0
    false_rate = beta.ppf(0.975, false + 1, count - false) if false < count else 1.0
    return float(np.log(max(true_rate - 1e-5, 1e-12) / false_rate))
