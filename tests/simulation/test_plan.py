"""The plan of a run: its numbers are those of the run itself, and nothing is written."""

import dataclasses
import json
import math
from collections import Counter

import numpy as np
import pytest

from fedtp_jax import SimulationConfig, UserError, config, simulate
from fedtp_jax.cli import main
from fedtp_jax.cli.tables import plan_table
from fedtp_jax.cli.units import duration, in_bytes
from fedtp_jax.config.plain import to_yaml
from fedtp_jax.data.sources import load
from fedtp_jax.plots.lanes import lane_schedule
from fedtp_jax.simulation.plan import _cut, plan_run
from fedtp_jax.simulation.setup import set_up

TINY = SimulationConfig(
    partition=config.Dirichlet(clients=9, alpha=0.3),
    model=config.Vit(patch_size=4, dim=8, depth=1, heads=2, dim_head=4, mlp_dim=8),
    method=config.FedTP(hypernetwork=config.Hypernetwork(embedding=4, hidden=6, layers=1)),
    training=config.Training(rounds=1, cohort_size=5),
    evaluation=config.Evaluation(batch_size=16),
    engine=config.Engine(devices=2, lanes=1, wave_size=4),
)


@pytest.fixture(scope="module")
def plan():
    return plan_run(TINY)


def words(plan):
    """The table in one line."""
    return " ".join(cell for column in plan_table(plan).columns for cell in column.cells)


@pytest.mark.alone
def test_the_numbers_are_those_of_the_run(plan):
    rounds = []
    result = simulate(TINY, on_round=lambda progress: rounds.append(progress.result))
    assert plan.programs == result.compiled["programs"]
    assert [plan.bytes_down] == result.history["bytes_down"].to_list()
    assert [plan.bytes_up] == result.history["bytes_up"].to_list()
    assert plan.training.occupancy == rounds[0].occupancy
    assert (plan.platform, plan.devices, plan.num_clients) == ("cpu", 2, 9)
    sizes, test_sizes = result.partition.train.sizes, result.partition.test.sizes
    assert plan.partition_bytes == 8 * (sizes.sum() + test_sizes.sum() + 2 * 10)
    rows = result.state.rows.take(np.arange(9))
    assert 9 * plan.row_bytes == sum(leaf.nbytes for leaf in rows.values())
    train, test = plan.training, plan.evaluation
    assert (train.clients, train.waves, train.wave_size, train.lanes) == (5, 2, 3, 1)
    assert (test.clients, test.waves, test.wave_size, test.lanes) == (9, 3, 3, 1)
    assert test.useful_steps == sum(math.ceil(size / 16) for size in test_sizes)
    assert train.ticks == train.executed_steps / 2
    assert 0 < train.longest_ticks <= train.ticks


def test_the_leaves_are_there_with_their_roles(plan):
    roles = Counter(leaf.role for leaf in plan.leaves)
    assert (roles["shared"], roles["generated"], roles["embedding"]) == (18, 3, 1)
    told = json.loads(json.dumps(plan.figures()))["leaves"]
    assert told == [{**vars(leaf), "shape": list(leaf.shape)} for leaf in plan.leaves]


def test_the_estimate_is_positive_and_adds_up(plan):
    for part in (plan.training, plan.evaluation):
        assert 0 < part.seconds < math.inf
        assert part.seconds == max(part.device_seconds, part.host_seconds)
        assert part.program_bytes > 0
    assert plan.seconds == pytest.approx(plan.training.seconds + plan.evaluation.seconds)


@pytest.mark.slow
def test_a_wave_cut_short_runs_the_same_program_on_fewer_ticks():
    _, simulator = set_up(TINY, load(TINY.data))
    state, whole = simulator.init(), list(simulator.prepare(0))
    state, result = simulator.round(state, 0, whole)
    programs, losses = simulator.programs.count, []  # examples would be counted from the schedule
    for ticks in (0, 1, 10**6):
        state, cut = simulator.round(state, 0, [_cut(wave, ticks) for wave in whole])
        losses.append(cut.train_loss * cut.examples)
    assert simulator.programs.count == programs
    assert losses[0] == 0 < losses[1] < losses[2]
    # a batch on each of two devices, in each of two waves, twice ln 10 an example
    assert losses[1] <= 2 * 2 * 32 * 5
    assert losses[2] > result.examples  # more than half of ln 10 an example


def test_idle_lanes_are_explained(plan):
    alone = dataclasses.replace(TINY.training, cohort_size=1)
    bounded = plan_run(dataclasses.replace(TINY, training=alone))
    assert (bounded.training.limit, bounded.training.occupancy) == ("longest_client", 0.5)
    assert "bounded by the longest client" in words(bounded)

    def uneven(**changes):
        few = dataclasses.replace(
            plan.training, ticks=10.0, longest_ticks=5.0, useful_steps=15.0, executed_steps=20.0, **changes
        )
        full = dataclasses.replace(plan.evaluation, useful_steps=1.0, executed_steps=1.0)
        assert (few.limit, full.limit) == ("packing", None)
        return words(dataclasses.replace(plan, training=few, evaluation=full))

    assert "a larger engine.wave_size than 3" in uneven()
    assert "fewer engine.lanes than 4" in uneven(waves=1, lanes=4)
    assert "do not share out evenly over 2 devices" in uneven(waves=1)


@pytest.mark.slow
def test_the_command_prints_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(to_yaml(TINY))

    def fedtp(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["plan", "tiny.yaml", *arguments])
        return caught.value.code, *capsys.readouterr()

    code, out, err = fedtp("--json", "training.rounds=7", "evaluation.every=3")
    figures = json.loads(out, parse_constant=pytest.fail)
    assert (code, err) == (0, "")
    assert (figures["rounds"], figures["evaluations"]) == (7, 3)  # the last round is always evaluated
    assert figures["training"]["occupancy"] <= 1
    code, out, err = fedtp()
    assert (code, err) == (0, "")
    assert "estimated time" in out
    assert "params/head/kernel" in out
    code, out, err = fedtp("training.cohort_size=100")
    assert (code, out) == (2, "")
    assert err.startswith("error: training.cohort_size: 100 is more than")
    code, out, err = fedtp("--picture", "lanes.jpg")
    assert (code, out) == (2, "")
    assert err == "error: --picture lanes.jpg: expected a file that ends in .png, .pdf or .svg\n"
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]
    code, out, err = fedtp("--picture", "lanes.png")
    assert (code, err) == (0, "")
    assert (tmp_path / "lanes.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_of_lanes_shows_every_client_once(plan):
    load = plan.training
    axes = lane_schedule(load.stays, plan.devices, load.lanes, "a wave").axes[0]
    assert sorted(text.get_text() for text in axes.texts) == sorted(str(k) for k in load.stays[:, 2])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["device 0, lane 0", "device 1, lane 0"]
    many = np.array([(0, lane, lane, 0, 1 + lane) for lane in range(100)])
    axes = lane_schedule(many, 1, 101, "many lanes").axes[0]
    assert not axes.texts
    assert axes.get_title(loc="left") == "many lanes, occupancy 0.50"


def test_a_lower_precision_is_worth_trying_on_accelerators(plan):
    assert plan.precision == "float32"
    assert "bfloat16" not in words(plan)
    assert "engine.precision=bfloat16" in words(dataclasses.replace(plan, platform="gpu"))
    assert "bfloat16" not in words(dataclasses.replace(plan, platform="gpu", precision="bfloat16"))


def test_mistakes_are_those_of_the_run():
    with pytest.raises(UserError, match="does not divide"):
        plan_run(dataclasses.replace(TINY, model=config.Vit(patch_size=3)))


def test_units():
    sizes = [in_bytes(count) for count in (0, 999, 1023.7 * 2**10, 5 * 2**20, 2**40)]
    assert sizes == ["0 B", "999 B", "1 MiB", "5 MiB", "1 TiB"]
    times = [duration(seconds) for seconds in (0.0414, 9.4, 59.6, 200, 7500)]
    assert times == ["0.041 s", "9.4 s", "1 min 0 s", "3 min 20 s", "2 h 5 min"]
