"""Clients that drop out, are slow or away: drawn from the seed, counted, and nothing but a schedule."""

import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest
from method_cases import CLIENTS, SEED, TRAINING, federation, simulator
from tiny_run import TINY, Stopped, same_files, stop_after

from fedtp_jax import UserError, compare, config, simulate
from fedtp_jax.data.dataset import Dataset, Examples
from fedtp_jax.engine.mesh import make_mesh
from fedtp_jax.engine.schedule import sample_cohort
from fedtp_jax.partitions.partition import Partition, Shards
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.simulation.participation import Participation
from fedtp_jax.simulation.rounds import Simulator

CANDIDATES = np.arange(0, 2000, 2)


def draw(rounds=20, size=200, seed=1, candidates=CANDIDATES, steps=1000, **fields):
    """Participants of the first rounds; of 2,000 clients the candidates hold an example."""
    participation = config.Participation(**fields)
    training = config.Training(cohort_size=size, local_steps=steps, participation=participation)
    shards = Shards.from_owners(candidates, 2000)
    settings = config.SimulationConfig(seed=seed, training=training)
    made = Participation(settings, Partition(shards, shards))
    return [made.participants(round) for round in range(rounds)]


def test_by_default_the_whole_cohort_takes_part():
    for round, one in enumerate(draw()):
        np.testing.assert_array_equal(one.ids, sample_cohort(1, round, CANDIDATES, 200))
        assert (one.steps == one.whole).all() and one.share_done == 1
        assert (one.drawn, one.stragglers) == (200, 0)


def test_dropouts_and_stragglers_are_as_frequent_as_asked():
    rounds = draw(dropout=0.3, stragglers=0.5, straggler_share=0.2)
    returned = np.mean([len(one.ids) / one.drawn for one in rounds])
    assert returned == pytest.approx(0.7, abs=0.03)
    shares = np.concatenate([one.steps / one.whole for one in rounds])
    assert np.mean(shares < 1) == pytest.approx(0.5, abs=0.03)
    slow = shares[shares < 1]
    assert slow.min() >= 0.2
    assert slow.mean() == pytest.approx(0.6, abs=0.02)
    assert sum(one.stragglers for one in rounds) == len(slow)
    again = draw(dropout=0.3, stragglers=0.5, straggler_share=0.2)
    other = draw(dropout=0.3, stragglers=0.5, straggler_share=0.2, seed=2)
    assert all(
        np.array_equal(a.ids, b.ids) and np.array_equal(a.steps, b.steps)
        for a, b in zip(rounds, again, strict=True)
    )
    assert not np.array_equal(rounds[0].ids, other[0].ids)


def test_over_selection_fills_the_cohort_and_no_more():
    rounds = draw(dropout=0.3, over_selection=1.75)
    assert {one.drawn for one in rounds} == {350}
    assert {len(one.ids) for one in rounds} == {200}
    assert all(np.all(np.diff(one.ids) > 0) for one in rounds)
    assert np.concatenate([one.ids for one in rounds]).mean() == pytest.approx(CANDIDATES.mean(), rel=0.05)
    with pytest.raises(
        UserError, match=r"cohort_size: 200 times participation.over_selection 6.0 is more than"
    ):
        draw(over_selection=6.0)


@pytest.mark.parametrize(("least", "steps"), [(0.9, 3), (0.5, 3), (0.5, 1), (0.1, 7), (1 / 3, 3), (1.0, 4)])
def test_a_straggler_does_at_least_its_share_and_one_step(least, steps):
    rounds = draw(stragglers=1.0, straggler_share=least, steps=steps)
    done = np.concatenate([one.steps for one in rounds])
    assert max(1, least * steps) <= done.min() <= least * steps + 1 and done.max() == steps
    assert sum(one.stragglers for one in rounds) == (done < steps).sum(), "who did all is none"
    assert np.mean([one.share_done for one in rounds]) == pytest.approx((done / steps).mean())


def test_over_selection_takes_the_faster_ones():
    everybody = draw(stragglers=0.5, straggler_share=0.2, size=200)
    rounds = draw(stragglers=0.5, straggler_share=0.2, size=200, over_selection=1.5)
    assert np.mean([one.stragglers for one in everybody]) == pytest.approx(100, rel=0.1)
    # of 300 that return some 150 do all; of the 150 stragglers the fastest 50 are in time
    assert np.mean([one.stragglers for one in rounds]) == pytest.approx(50, rel=0.25)
    for one in rounds:
        slow = (one.steps / one.whole)[one.steps < one.whole]
        assert slow.min() > 0.6
    ids = np.concatenate([one.ids for one in rounds])
    assert ids.mean() == pytest.approx(CANDIDATES.mean(), rel=0.05), "by lot, not by number"


def test_a_trace_says_who_is_available(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("client,first_round,last_round\n0,2,3\n0,5,5\n4,1,1\n1,1,9\n")
    rounds = draw(6, size=3, candidates=np.array([0, 4, 6]), trace=str(path))
    assert [one.ids.tolist() for one in rounds] == [[4, 6], [0, 6], [0, 6], [6], [0, 6], [6]]
    assert [one.drawn for one in rounds] == [2, 2, 2, 1, 2, 1]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffclient,first_round,last_round\n0,2,3\n",
        "client,first_round,last_round\r\n0,2,3\r\n\r\n",
        "client, first_round, last_round\n0, 2, 3\n,,\n",
    ],
)
def test_a_trace_may_come_from_a_spreadsheet(text, tmp_path):
    path = tmp_path / "trace.csv"
    path.write_bytes(text.encode())
    rounds = draw(3, size=3, candidates=np.array([0, 4, 6]), trace=str(path))
    assert [one.ids.tolist() for one in rounds] == [[4, 6], [0, 4, 6], [0, 4, 6]]


def participating(**fields):
    return dataclasses.replace(TRAINING, local_epochs=2, participation=config.Participation(**fields))


def test_a_straggler_does_the_first_of_its_steps():
    whole = simulator("fedavg", "vit", training=participating())
    slow = simulator("fedavg", "vit", training=participating(stragglers=1.0, straggler_share=0.5))
    for client in range(CLIENTS):
        steps = int(slow.participation.local_steps[client])
        everything, part = whole._batches(0, client, steps), slow._batches(0, client, max(1, steps - 2))
        assert (len(everything.valid), len(part.valid)) == (steps, max(1, steps - 2))
        steps = len(part.valid)
        np.testing.assert_array_equal(part.positions, everything.positions[:steps])
    cohort = slow.participation.participants(0)
    (wave,) = slow.prepare(0)
    assert wave.useful_steps == sum(
        len(slow._batches(0, int(k), int(n)).valid) for k, n in zip(cohort.ids, cohort.steps, strict=True)
    )
    assert wave.useful_steps < sum(cohort.whole)


@pytest.mark.slow
def test_who_drops_out_is_as_if_never_drawn():
    sim = simulator("fedtp_per", "vit", training=participating(dropout=0.5))
    round = next(r for r in range(20) if len(sim.participation.participants(r).ids) == 2)
    cohort = sim.participation.participants(round).ids
    state, result = sim.round(sim.init(), round, sim.prepare(round))
    assert (result.drawn, result.clients) == (3, 2)
    wave = sim.prepare_wave(
        cohort, [sim._batches(round, int(k), int(sim.participation.local_steps[k])) for k in cohort], cohort
    )
    expected, _ = sim.round(sim.init(), round, [wave])
    jax.tree.map(np.testing.assert_array_equal, state._replace(rows={}), expected._replace(rows={}))
    assert result.bytes_down == 3 * sim.traffic[0]
    assert result.bytes_up == 2 * sim.traffic[1]


def test_any_number_of_returns_fits_the_waves():
    training = dataclasses.replace(participating(dropout=0.4), cohort_size=4)
    engine = config.Engine(wave_size=3)  # waves of two, for a cohort of four; three that return are two waves
    sim = simulator("fedavg", "vit", training=training, engine=engine)
    sizes = {tuple(wave.clients for wave in sim.prepare(round)) for round in range(80)}
    assert sizes == {(), (1,), (2,), (2, 1), (2, 2)}


def test_a_void_round_changes_nothing():
    sim = simulator("fedtp_per", "vit", training=participating(dropout=0.9, minimum=3))
    state = sim.init()
    before = jax.device_get((state._replace(rows={}), state.rows.take(np.arange(CLIENTS))))
    state, result = sim.round(state, 0, sim.prepare(0))
    assert result.void
    assert (result.drawn, result.examples) == (3, 0)
    assert np.isnan(result.train_loss)
    after = jax.device_get((state._replace(rows={}), state.rows.take(np.arange(CLIENTS))))
    jax.tree.map(np.testing.assert_array_equal, before, after)


HARD = config.Participation(dropout=0.5, stragglers=0.5, minimum=2)


def test_a_run_counts_what_it_lost_and_resumes(tmp_path):
    settings = dataclasses.replace(TINY, training=dataclasses.replace(TINY.training, participation=HARD))
    result = simulate(settings, out=tmp_path / "whole")
    history = result.history
    assert (history["drawn"] == 3).all()
    assert history["void"].sum() > 0
    assert (history["void"] == (history["clients"] < 2)).all()
    assert history.loc[history["void"] == 1, "train_loss"].isna().all()
    assert history["stragglers"].sum() > 0
    page = (tmp_path / "whole" / "report.html").read_text()
    missing = (history["drawn"] - history["clients"]).sum()
    assert f"{missing} of 18 clients that were asked did not return in time" in page
    assert "rounds were void" in page
    with pytest.raises(Stopped):
        simulate(settings, out=tmp_path / "run", on_round=stop_after(3))
    simulate(settings, out=tmp_path / "run", resume=True)
    same_files(tmp_path / "whole", tmp_path / "run")


def broken(on_nonfinite):
    """A simulator whose client 2 holds a NaN, and a round in which it trains."""
    data, partition = federation("vit")
    x = data.train.x.astype(np.float32)
    x[partition.train[2]] = np.nan
    training = dataclasses.replace(TRAINING, on_nonfinite=on_nonfinite)
    settings = config.SimulationConfig(
        seed=SEED,
        model=config.Vit(patch_size=2, dim=6, depth=1, heads=2, dim_head=3, mlp_dim=4),
        method=config.FedPer(),
        training=training,
    )
    data = Dataset("broken", Examples(x, data.train.y), data.test, data.num_classes)
    task, method = DataSpec.of(data, partition).build(settings)
    sim = Simulator(settings, task, method, data, partition, make_mesh(1))
    return sim, next(r for r in range(9) if 2 in sim.participation.participants(r).ids)


def test_a_client_that_is_not_finite_is_named_or_ends_the_run():
    sim, round = broken("exclude")
    assert sim.round(sim.init(), round, sim.prepare(round))[1].excluded == (2,)
    sim, round = broken("stop")
    message = rf"round {round + 1}: 1 of 3 clients of the cohort \(2\) returned .*on_nonfinite=exclude"
    with pytest.raises(FloatingPointError, match=message):
        sim.round(sim.init(), round, sim.prepare(round))


def test_excluded_clients_stand_in_the_tables(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 4, 4, 1)).astype(np.float32)
    sim_data = {"groups": np.repeat([0, 1, 2], 20)}
    from fedtp_jax import from_arrays

    x[sim_data["groups"] == 1] *= 1e30  # finite as from_arrays demands, and too large to train on
    data = from_arrays(x, random.integers(0, 2, 60), num_classes=2, **sim_data)
    settings = dataclasses.replace(
        TINY,
        partition=config.Natural(),
        training=dataclasses.replace(TINY.training, rounds=2),
        method=config.FedPer(),
    )
    with pytest.warns(UserWarning) as told:
        result = simulate(settings, data=data, out=tmp_path / "run")
    counts = result.clients["excluded_rounds"].tolist()
    assert counts[1] == result.history["excluded"].sum() == 2
    lost = "2 uploads of 1 client in 2 rounds not finite, left out"
    assert [str(warning.message).partition(" (")[0] for warning in told] == [f"seed 0: {lost}"]
    assert repr(result).endswith(f"; {lost})")
    for run in (result, tmp_path / "run"):
        assert "not finite, and were left out: " in compare(run).sheet.notes[-1]
        assert compare(run).sheet.notes[-1].endswith(" (2 in 2 rounds).")
    assert counts[0] == counts[2] == 0
    assert set(result.history["excluded_clients"]) <= {"1", ""}
    written = pd.read_csv(tmp_path / "run" / "clients.csv")
    assert written["excluded_rounds"].tolist() == counts
    assert "clients.csv says whose" in (tmp_path / "run" / "report.html").read_text()
