"""The virtual clock: its columns, deadlines and the first that return, against a loop over clients."""

import dataclasses

import jax
import numpy as np
import pytest
from method_cases import simulator
from oracle_clock import one_round
from tiny_run import TINY, Stopped, same_files, same_state, stop_after

from fedtp_jax import config, simulate
from fedtp_jax.core import rng
from fedtp_jax.engine.prelude import Prelude
from fedtp_jax.partitions.partition import Partition, Shards
from fedtp_jax.simulation.client_speeds import client_speeds
from fedtp_jax.simulation.clock import make_clock
from fedtp_jax.simulation.participation import Participation
from fedtp_jax.simulation.plan import plan_run

SIZES = np.random.default_rng(0).integers(1, 60, 40)
TRAFFIC, BATCH, COHORT, ROUNDS = (4000, 1000), 8, 12, 15
SPREAD = config.Clock(speed=10, speed_sigma=0.7, down=2e4, up=1e3, link_sigma=0.8)


def participation(clock, size=COHORT, seed=5, prelude=None, **fields):
    """Of 40 clients with 1 to 59 examples; without a clock none takes part in it."""
    shards = Shards.from_owners(np.repeat(np.arange(len(SIZES)), SIZES), len(SIZES))
    training = config.Training(
        cohort_size=size,
        local_epochs=2,
        batch_size=BATCH,
        participation=config.Participation(**fields),
        clock=clock or config.Clock(),
    )
    settings = config.SimulationConfig(seed=seed, training=training)
    made = make_clock(settings, SIZES, TRAFFIC, prelude or Prelude())
    return Participation(settings, Partition(shards, shards), clock=made)


def speeds_of(clock, seed=5):
    """{client: (examples, speed, down, up)}: client k has the k-th pair of normal numbers."""
    draws = iter(rng.generator(seed, rng.Purpose.CLOCK).standard_normal(2 * len(SIZES)))
    found = {}
    for client, examples in enumerate(SIZES.tolist()):
        work, link = np.exp(clock.speed_sigma * next(draws)), np.exp(clock.link_sigma * next(draws))
        found[client] = examples, clock.speed * work, clock.down * link, clock.up * link
    return found


CASES = {
    "no deadline": ({}, {}),
    "examples": ({"unit": "examples", "speed": 80}, {}),
    "drop": ({"deadline": 6.0}, {}),
    "partial": ({"deadline": 5.0, "late": "partial"}, {}),
    "partial, examples": ({"deadline": 5.0, "late": "partial", "unit": "examples", "speed": 60}, {}),
    "stragglers": ({"deadline": 6.0, "late": "partial"}, {"stragglers": 0.6, "dropout": 0.2}),
    "straggling examples": (
        {"deadline": 6.0, "late": "partial", "unit": "examples", "speed": 80},
        {"stragglers": 0.9},
    ),
    "dropouts, no deadline": ({}, {"dropout": 0.5, "stragglers": 0.5}),
    "the first that return": ({}, {"over_selection": 1.5}),
    "the first by the deadline": ({"deadline": 6.0}, {"over_selection": 1.75, "dropout": 0.3}),
    "the first, partial": ({"deadline": 3.0, "late": "partial"}, {"over_selection": 2.0, "stragglers": 0.3}),
}


@pytest.mark.parametrize("name", CASES)
def test_who_returns_and_when_is_that_of_a_loop(name):
    fields, takes_part = CASES[name]
    clock, asks = dataclasses.replace(SPREAD, **fields), round(COHORT * takes_part.get("over_selection", 1))
    timed, everybody = participation(clock, **takes_part), speeds_of(clock)
    # the same cohort with its dropouts and stragglers, of whom nobody is too many or too late
    usual = participation(None, asks, **{k: v for k, v in takes_part.items() if k != "over_selection"})
    late = partial = 0
    for number in range(ROUNDS):
        before, one = usual.participants(number), timed.participants(number)
        asked = dict.fromkeys(range(-before.drawn, -len(before.ids)))  # those that drop out
        asked |= dict(zip(before.ids.tolist(), zip(before.steps, before.whole, strict=True), strict=True))
        clients = {client: everybody[client] for client in before.ids.tolist()}
        kept, seconds = one_round(clients, asked, COHORT, clock, TRAFFIC, BATCH)
        assert dict(zip(one.ids.tolist(), one.steps.tolist(), strict=True)) == kept
        assert one.seconds == pytest.approx(seconds)
        assert one.drawn == asks
        late += len(before.ids) - len(kept)
        partial += sum(steps < asked[client][0] for client, steps in kept.items())
    assert (late + partial > 0) == (clock.deadline is not None or asks > COHORT)
    assert (partial > 0) == (clock.late == "partial")
    assert timed.mean_seconds(2) == pytest.approx(np.mean([timed.participants(r).seconds for r in range(2)]))


def test_nobody_who_is_asked_takes_no_time():
    clock = dataclasses.replace(SPREAD, deadline=6.0)
    rounds = participation(clock, 1, sampling="poisson")
    drawn = [one for one in map(rounds.participants, range(30)) if not one.drawn]
    assert drawn
    assert {one.seconds for one in drawn} == {0.0}


def test_steps_before_the_local_ones_take_time_too():
    clock = config.Clock(speed=4.0)
    before = participation(clock, prelude=Prelude(passes=3, share=0.5))
    after = participation(clock)
    for number in range(3):
        ids = after.participants(number).ids
        steps = 2 * -(-SIZES[ids] // BATCH)
        half = -(-SIZES[ids] // 2)
        extra = 3 * -(-half // BATCH)
        assert after.participants(number).seconds == steps.max() / 4
        assert before.participants(number).seconds == (steps + extra).max() / 4
    by_examples = participation(
        config.Clock(speed=4.0, unit="examples"), prelude=Prelude(passes=3, share=0.5)
    ).participants(0)
    ids = by_examples.ids
    assert by_examples.seconds == (2 * SIZES[ids] + 3 * -(-SIZES[ids] // 2)).max() / 4


def test_speeds_are_log_normal_and_of_seed_and_client_alone():
    def draw(clients, seed=0):
        training = config.Training(clock=SPREAD)
        settings = config.SimulationConfig(seed=seed, training=training)
        return client_speeds(settings, np.ones(clients, int))

    many = draw(20_000)
    assert np.median(many.work) == pytest.approx(10, rel=0.03)
    assert np.log(many.work).std() == pytest.approx(0.7, rel=0.03)
    assert np.log(many.down).std() == pytest.approx(0.8, rel=0.03)
    np.testing.assert_allclose(many.down / many.up, 20)  # a slow link is slow both ways
    assert abs(np.corrcoef(np.log(many.work), np.log(many.up))[0, 1]) < 0.03
    np.testing.assert_array_equal(many.work[:10], draw(10).work)
    assert not np.array_equal(draw(10).work, draw(10, seed=1).work)
    alike = client_speeds(
        config.SimulationConfig(training=config.Training(clock=config.Clock(down=5.0))), np.ones(3, int)
    )
    assert [part.tolist() for part in alike] == [[np.inf] * 3, [5.0] * 3, [np.inf] * 3]


def test_by_default_and_without_a_deadline_training_is_what_it_was():
    timed = dataclasses.replace(TINY, training=dataclasses.replace(TINY.training, clock=SPREAD))
    plain, told = simulate(TINY), simulate(timed)
    assert not any(column.startswith("virtual") for column in plain.history)
    shown = told.history.drop(columns=["virtual_seconds", "virtual_time"])
    assert shown.to_csv() == plain.history.to_csv()
    same_state(plain.state, told.state)


@pytest.mark.alone
def test_no_program_knows_of_a_clock():
    def text(clock):
        sim = simulator("fedtp", "vit", training=dataclasses.replace(TINY.training, clock=clock))
        return jax.jit(sim._train_wave).lower(*sim._shapes(sim.layout)).as_text()

    assert text(dataclasses.replace(SPREAD, deadline=1.0, late="partial")) == text(config.Clock())


LINES = (
    "client,speed,down,up\n0,9,6000,3000\n1,3,6000,3000\n2,9,600,300\n3,1,6e3,3e3\n4,9,900,900\n5,5,1,1e9\n"
)


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """(settings, folder) of a run with a trace, a deadline, dropouts and compressed uploads."""
    path = tmp_path_factory.mktemp("traced")
    (path / "trace.csv").write_text(LINES)
    clock = config.Clock(trace=str(path / "trace.csv"), deadline=20.0, late="partial")
    training = dataclasses.replace(
        TINY.training, clock=clock, participation=config.Participation(dropout=0.2), batch_size=8
    )
    quantized = (config.Quantize(bits=2),)
    settings = dataclasses.replace(TINY, training=training, method=config.FedAvg(), upload=quantized)
    return settings, path / "run", simulate(settings, out=path / "run")


def test_a_runs_columns_are_those_of_a_loop(traced):
    settings, _, result = traced
    history, sizes = result.history, result.partition.train.sizes.tolist()
    down = history["bytes_down"][0] // history["drawn"][0]
    up = int((history["bytes_up"] / history["clients"]).dropna().iloc[0])
    assert up * 10 < down, "uploads are quantized, downloads are not"
    rows = [line.split(",") for line in LINES.splitlines()[1:]]
    speeds = {int(k): (sizes[int(k)], *map(float, row)) for k, *row in rows}
    training = dataclasses.replace(settings.training, clock=config.Clock())
    usual = Participation(dataclasses.replace(settings, training=training), result.partition)
    whole = 0.0
    for number, row in history.iterrows():
        before = usual.participants(number)
        asked = dict.fromkeys(range(-before.drawn, -len(before.ids)))
        asked |= {int(k): (n, n) for k, n in zip(before.ids, before.whole, strict=True)}
        clients = {int(k): speeds[int(k)] for k in before.ids}
        kept, seconds = one_round(clients, asked, 3, settings.training.clock, (down, up), 8)
        whole += seconds
        assert (row["clients"], row["drawn"]) == (len(kept), 3)
        assert row["stragglers"] == sum(steps < asked[k][1] for k, steps in kept.items())
        assert row["virtual_seconds"] == pytest.approx(seconds)
        assert row["virtual_time"] == pytest.approx(whole)
    assert history["stragglers"].sum() > 0
    assert set(history["virtual_seconds"] == 20.0) == {True, False}


def test_a_clock_resumes(traced, tmp_path):
    settings, whole, _ = traced
    with pytest.raises(Stopped):
        simulate(settings, out=tmp_path / "run", on_round=stop_after(3))
    simulate(settings, out=tmp_path / "run", resume=True)
    same_files(whole, tmp_path / "run")


def test_lanes_waves_and_devices_change_no_time(traced):
    settings, _, result = traced
    engine = config.Engine(devices=2, lanes=2, wave_size=2)
    other = simulate(dataclasses.replace(settings, engine=engine)).history
    columns = ["drawn", "clients", "stragglers", "share_done", "bytes_up", "virtual_seconds", "virtual_time"]
    assert other[columns].to_csv() == result.history[columns].to_csv()


def test_a_trace_is_told_by_what_it_holds(traced, tmp_path):
    settings, whole, _ = traced

    def run(lines, name):
        (tmp_path / name).write_text(lines)
        clock = dataclasses.replace(settings.training.clock, trace=str(tmp_path / name))
        training = dataclasses.replace(settings.training, clock=clock)
        return simulate(dataclasses.replace(settings, training=training), out=whole, resume=True)

    run(LINES, "moved.csv")
    with pytest.raises(ValueError, match=r"was run on another training\.clock\.trace"):
        run(LINES.replace("3,1,", "3,2,"), "other.csv")


def test_a_plan_and_a_report_tell_the_time(traced):
    settings, whole, result = traced
    mean = result.history["virtual_seconds"].mean()
    assert plan_run(settings).virtual_seconds == pytest.approx(mean)
    assert plan_run(TINY).virtual_seconds is None
    page = (whole / "report.html").read_text()
    assert "virtual time (s)" in page and f"a round {mean:.3g} s in the mean" in page
    left, right = result.plot_curves("time").axes
    evaluated = result.history.dropna(subset="clients_tested")
    np.testing.assert_allclose(left.lines[0].get_xdata(), evaluated["virtual_time"])
    assert left.get_xlabel() == right.get_xlabel() == "virtual time (s)"
    with pytest.raises(ValueError, match="over: got 'time', but the run has no clock"):
        dataclasses.replace(result, history=result.history.drop(columns="virtual_time")).plot_curves("time")
