"""Cohorts: drawn in four ways, or named by number and by name; what their clients weigh."""

import dataclasses

import numpy as np
import pytest
from marks import every_day
from method_cases import CLIENTS, TRAIN, TRAINING, simulator
from tiny_run import TINY, Stopped, same_files, stop_after

from fedtp_jax import UserError, config, from_arrays, simulate
from fedtp_jax.partitions.partition import Partition, Shards
from fedtp_jax.simulation.participation import Participation
from fedtp_jax.simulation.plan import plan_run

ROUNDS = 4000
SIZES = np.array([1, 2, 3, 4, 10, 0])
NAMES = ("north", "south", "east", "west", "7", "nobody")
HEAD = "client,first_round,last_round\n"


def made(size=3, sizes=SIZES, weighting="examples", held_out=0, seed=1, **fields):
    """Participation of clients with so many train examples, who have NAMES."""
    how = config.Participation(**fields)
    training = config.Training(cohort_size=size, held_out=held_out, rounds=10, participation=how)
    server = config.Server(weighting=weighting)
    shards = Shards.from_owners(np.repeat(np.arange(len(sizes)), sizes), len(sizes))
    settings = config.SimulationConfig(seed=seed, training=training, server=server)
    return Participation(settings, Partition(shards, shards), NAMES)


def drawn(who, rounds=ROUNDS):
    """[rounds, N] how often each client was drawn."""
    counts = np.zeros((rounds, len(SIZES)), int)
    for round in range(rounds):
        one = who.participants(round)
        counts[round, one.ids] = one.draws
        assert (np.diff(one.ids) > 0).all() and one.drawn == len(one.ids)
    return counts


def test_without_replacement_everybody_is_there_once_and_equally_often():
    counts = drawn(who := made())
    assert counts.max() == 1 and (counts.sum(1) == 3).all() and who.usual == who.mean == 3
    np.testing.assert_allclose(counts[:, :5].mean(0), 3 / 5, atol=0.03)


@pytest.mark.parametrize(
    ("sampling", "chances"), [("with_replacement", np.ones(5)), ("by_examples", SIZES[:5])]
)
def test_with_replacement_there_are_as_many_draws_as_asked_for(sampling, chances):
    counts, p = drawn(who := made(sampling=sampling)), chances / chances.sum()
    assert (counts.sum(1) == 3).all() and counts.max() == 3 and not counts[:, 5].any()
    np.testing.assert_allclose(counts[:, :5].mean(0), 3 * p, atol=0.04)
    np.testing.assert_allclose((counts[:, :5] > 1).mean(0), 3 * p**2 - 2 * p**3, atol=0.03)
    assert who.usual == 3 and who.mean == pytest.approx((counts > 0).sum(1).mean(), abs=0.03)


def test_by_poisson_every_client_comes_by_itself():
    counts = drawn(who := made(sampling="poisson", size=2))
    assert counts.max() == 1 and who.mean == 2 and who.usual == 5
    np.testing.assert_allclose(counts[:, :5].mean(0), 2 / 5, atol=0.03)
    correlation = np.corrcoef(counts[:, :5].T) - np.eye(5)
    assert abs(correlation).max() < 0.06, "and whoever else comes"
    size = counts.sum(1)
    assert (size.min(), size.max()) == (0, 5) and size.var() == pytest.approx(5 * 0.4 * 0.6, rel=0.1)
    assert [who.takes_place(round) for round in range(99)] == (size[:99] > 0).tolist()


@pytest.mark.parametrize("sampling", ["without_replacement", "with_replacement", "by_examples", "poisson"])
def test_a_draw_is_a_function_of_seed_and_round(sampling):
    one, other = (drawn(made(sampling=sampling, seed=seed), 30) for seed in (1, 2))
    again = made(sampling=sampling)
    for round in reversed(range(30)):
        np.testing.assert_array_equal(np.flatnonzero(one[round]), again.participants(round).ids)
    assert not np.array_equal(one, other)


def test_who_is_available_does_not_change_the_coins_of_others(tmp_path):
    (tmp_path / "trace.csv").write_text(HEAD + "west,5,5\n1,5,5\n")
    fields = {"sampling": "poisson", "size": 4}
    counts, away = drawn(made(**fields), 50), drawn(made(**fields, trace=str(tmp_path / "trace.csv")), 50)
    np.testing.assert_array_equal(away[:, [0, 2, 4]], counts[:, [0, 2, 4]])
    assert not away[np.arange(50) != 4][:, [1, 3]].any() and counts[:, [1, 3]].any()


def test_what_clients_weigh():
    ids, cohort = np.array([0, 2, 4]), np.array([0, 2, 2, 4])
    np.testing.assert_array_equal(made().weights(ids, ids), np.array([1, 3, 10]) / 14)
    np.testing.assert_array_equal(made().weights(ids, cohort), np.array([1, 6, 10]) / 17)
    np.testing.assert_array_equal(made(weighting="uniform").weights(ids, cohort), np.array([1, 2, 1]) / 4)
    np.testing.assert_array_equal(made(weighting="uniform").weights(ids[:2], cohort), np.array([1, 2]) / 4)


def test_named_cohorts_begin_again(tmp_path):
    who = made(cohorts=((4, "north"), ("east",), (1, 2, 3)), size=9)
    assert [who.participants(round).ids.tolist() for round in range(5)] == [
        [0, 4],
        [2],
        [1, 2, 3],
        [0, 4],
        [2],
    ]
    assert (who.usual, who.mean) == (3, (3 * 6 + 2) / 10)
    away = tmp_path / "trace.csv"
    away.write_text(HEAD + "0,9,9\n2,1,1\n")
    who = made(cohorts=((4, "north"), ("east",)), trace=str(away))
    assert [who.participants(round).ids.tolist() for round in range(2)] == [[4], []]
    assert not who.takes_place(1)


def test_a_file_names_all_who_take_part(tmp_path):
    path = tmp_path / "cohorts.csv"
    path.write_text(HEAD + "0,1,2\nsouth,2,2\n0,2,3\n4,3,1000000000000\n")
    who = made(cohorts=str(path))
    assert [who.participants(round).ids.tolist() for round in range(5)] == [[0], [0, 1], [0, 4], [4], [4]]
    assert who.usual == 3 and who._named.mean(5) == 8 / 5, "more where intervals overlap"


@pytest.mark.parametrize(
    ("cohorts", "message"),
    [
        (
            ((0,), ("nort",)),
            r"round 2: no client is called 'nort' \(did you mean 'north'\?\); clients have numbers",
        ),
        (((0, 6),), r"round 1: got client 6, but they are 0 to 5$"),
        (((7,),), r"round 1: got client 7, but they are 0 to 5; the one that is called 7 is 4$"),
        (((0,), (1, "south")), r"round 2: client 1 \(south\) is there 2 times; name it once"),
        (((0, 5),), r": client 5 \(nobody\) holds no train examples; name others"),
    ],
)
def test_whom_nobody_can_ask(cohorts, message):
    with pytest.raises(UserError, match=rf"^training\.participation\.cohorts.*{message}"):
        made(cohorts=cohorts)


def test_what_does_not_fit_named_cohorts():
    with pytest.raises(UserError, match=r"cohorts: client . .* is held out \(training.held_out\)"):
        made(cohorts=((0, 1, 2, 3, 4),), held_out=1)
    with pytest.raises(UserError, match="minimum: 3 is more than the 2 clients of the largest cohort"):
        made(cohorts=((0, 1),), minimum=3)
    made(sampling="poisson", minimum=5)
    with pytest.raises(UserError, match="minimum: 6 is more than"):
        made(sampling="poisson", minimum=6)


def test_any_cohort_fits_the_waves():
    how = config.Participation(sampling="poisson")
    training = dataclasses.replace(TRAINING, cohort_size=1, participation=how)
    sim = simulator("fedavg", "vit", training=training, engine=config.Engine(wave_size=2))
    found = set()
    for round in range(300):
        waves = list(sim.prepare(round))
        found.add(tuple(wave.clients for wave in waves))
        ids = np.concatenate([wave.ids[wave.ids < CLIENTS] for wave in waves]) if waves else []
        assert sorted(ids) == sim.participation.participants(round).ids.tolist()
        weights = {
            int(k): w
            for wave in waves
            for k, w in zip(wave.ids, np.asarray(wave.wave.facts.weight), strict=True)
        }
        total = sum(TRAIN[k] for k in ids)
        assert all(weights[k] == pytest.approx(TRAIN[k] / total) for k in ids)
    assert {(), (1,), (2,), (2, 1), (2, 2)} <= found


RESUMED = [{"sampling": "with_replacement"}, {"sampling": "poisson"}, {"cohorts": ((0, 3), (5,))}]


@pytest.mark.parametrize("fields", every_day(RESUMED, RESUMED[1:]))
def test_a_run_resumes(fields, tmp_path):
    how = config.Participation(**fields)
    training = dataclasses.replace(TINY.training, cohort_size=5, participation=how, warmup_rounds=4)
    server = config.Server(weighting="uniform")
    settings = dataclasses.replace(TINY, training=training, server=server)
    result = simulate(settings, out=tmp_path / "whole")
    with pytest.raises(Stopped):
        simulate(settings, out=tmp_path / "run", on_round=stop_after(3))
    if "cohorts" in fields:
        assert result.history["clients"].tolist() == [2, 1] * 3
        other = dataclasses.replace(training, participation=config.Participation(cohorts=((0, 3), (4,))))
        with pytest.raises(UserError, match="cohorts"):
            simulate(dataclasses.replace(settings, training=other), out=tmp_path / "run", resume=True)
        never = dataclasses.replace(training, participation=config.Participation())
        with pytest.raises(UserError, match="cohorts"):
            simulate(dataclasses.replace(settings, training=never), out=tmp_path / "run", resume=True)
    simulate(settings, out=tmp_path / "run", resume=True)
    same_files(tmp_path / "whole", tmp_path / "run")


def test_clients_of_the_data_are_named():
    random, groups = np.random.default_rng(0), np.repeat(["north", "south", "west"], 20)
    x = random.integers(0, 256, (60, 8, 8, 1)).astype(np.uint8)
    data = from_arrays(x, random.integers(0, 2, 60), groups=groups)
    how = config.Participation(cohorts=(("west",), ("north", 1)))
    training = config.Training(rounds=2, cohort_size=7, participation=how)
    chosen = config.Evaluation(clients=("west", 0))
    settings = dataclasses.replace(TINY, training=training, partition=config.Natural(), evaluation=chosen)
    with pytest.warns(UserWarning, match="training.cohort_size: 7 has no effect, since .*cohorts says who"):
        result = simulate(settings, data=data)
    assert result.clients["trained_rounds"].tolist() == [1, 1, 1]
    assert result.clients["test_accuracy"].isna().tolist() == [False, True, False]


def test_a_plan_is_of_the_mean_cohort():
    how = config.Participation(cohorts=((0, 1), (0, 1, 2, 3), (2, 4, 5)))
    training = dataclasses.replace(TINY.training, cohort_size=5, participation=how)
    plan = plan_run(dataclasses.replace(TINY, training=training))
    assert (plan.training.clients, plan.training.waves, plan.training.wave_size) == (3, 1, 4)
