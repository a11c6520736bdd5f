"""Schedules: every example of every client exactly once an epoch, in an order that no layout changes."""

import itertools

import numpy as np
import pytest
from replay import replay

from fedtp_jax.core.rng import Purpose, generator
from fedtp_jax.engine.schedule import (
    auto_lanes,
    best_batch,
    build_schedule,
    plan_layout,
    sample_cohort,
    shuffled_batches,
    split_batches,
    stays,
)

SIZES = [0, 1, 4, 5, 17, 30, 2, 9, 12, 3, 0, 40]


def clients(batch=4, epochs=2):
    ends = np.cumsum([0, *SIZES])
    shards = [np.arange(a, b) for a, b in itertools.pairwise(ends)]
    return [
        shuffled_batches(shard, epochs, batch, generator(1, Purpose.BATCHES, 0, k))
        for k, shard in enumerate(shards)
    ]


@pytest.mark.parametrize("devices", [1, 2, 3])
@pytest.mark.parametrize("lanes", [1, 2, 5, 12])
def test_every_layout_gives_every_client_the_same_steps(devices, lanes):
    batches = clients()
    steps = np.array([len(b.valid) for b in batches])
    layout = plan_layout(np.sort(steps)[::-1], devices, lanes, 4)
    schedule = build_schedule(batches, layout)
    seen, done = replay(schedule, layout)
    assert sorted(done) == sorted(seen) == [k for k, size in enumerate(SIZES) if size]
    for k, lived in seen.items():
        assert [step for step, _ in lived] == list(range(steps[k]))
        expected = [p[:n].tolist() for p, n in zip(*batches[k][:2], strict=True)]
        assert [examples for _, examples in lived] == expected
        first = sum(SIZES[:k])
        assert sorted(e for _, examples in lived for e in examples) == sorted(
            2 * list(range(first, first + SIZES[k]))
        )
    assert schedule.useful_steps == steps.sum() <= schedule.executed_steps
    found = stays(schedule.tables, schedule.position)
    assert {client: end - begin for *_, client, begin, end in found.tolist()} == {
        client: steps[client] for client in seen
    }
    for device, lane in {(d, row) for d, row, *_ in found.tolist()}:
        *_, begin, end = found[(found[:, :2] == (device, lane)).all(1)].T
        assert begin.tolist() == [0, *end[:-1]]  # one after the other, without a gap
    sits = schedule.position[schedule.position >= 0]
    assert sorted(sits) == sorted(seen)  # each client on one slot of one device
    assert schedule.tables.positions.shape[1] == layout.ticks


def test_longest_first_packing_is_balanced():
    steps = np.random.default_rng(0).integers(1, 30, 200)
    batches = [split_batches(np.arange(s), 1) for s in steps]
    layout = plan_layout(np.sort(steps)[::-1], 2, 4, 1)
    schedule = build_schedule(batches, layout)
    assert schedule.useful_steps / schedule.executed_steps > 0.97


def test_tables_grow_when_a_wave_does_not_fit():
    layout = plan_layout(np.array([2, 2]), 1, 1, 2)
    schedule = build_schedule([split_batches(np.arange(20), 2)], layout)
    assert schedule.tables.positions.shape[1] >= 10
    assert replay(schedule, layout)[1] == [0]


def test_split_batches_keeps_the_short_last_batch():
    batches = split_batches(np.array([7, 8, 9, 5, 6]), 2)
    assert batches.positions.tolist() == [[7, 8], [9, 5], [6, 7]]
    assert batches.valid.tolist() == [2, 2, 1]


def test_auto_lanes_are_total_over_longest_less_those_that_only_idle():
    ragged = np.array([30, 20, 20, 10, 10, 10])
    assert auto_lanes(ragged, 6, devices=1, fill=99) == 4  # 100 / 30, rounded up
    assert auto_lanes(ragged, 6, devices=2, fill=99) == 2
    assert auto_lanes(ragged, 6, devices=2, fill=1) == 1
    alike = np.full(10, 7)
    assert auto_lanes(alike, 10, devices=1, fill=99) == 10
    assert auto_lanes(alike, 4, devices=1, fill=99) == 4
    assert auto_lanes(alike, 10, devices=1, fill=6) == 5, "in two turns, as 6 would take"
    # 59 / 10, rounded up, are 6 lanes; but two lanes must take two clients of 7, and then three may
    assert auto_lanes(np.array([10] + [7] * 7), 8, devices=1, fill=99) == 5


def test_cohorts_are_distinct_sorted_and_a_function_of_seed_and_round():
    candidates = np.array([3, 5, 8, 9, 11, 20])
    cohort = sample_cohort(0, 4, candidates, 4)
    assert len(set(cohort)) == 4
    assert set(cohort) <= set(candidates)
    assert sorted(cohort) == cohort.tolist()
    assert np.array_equal(cohort, sample_cohort(0, 4, candidates, 4))
    drawn = {tuple(sample_cohort(s, r, candidates, 4)) for s in range(3) for r in range(10)}
    assert len(drawn) > 5


def test_small_shards_get_small_batches_and_large_ones_large():
    assert best_batch(np.full(5, 1000), 256) == 256
    assert best_batch(np.array([10, 9, 12, 8]), 256) == 12
    assert best_batch(np.array([8] * 50 + [200]), 256) == 8
    assert best_batch(np.array([11, 9]), 256) == 12, "one of few sizes, so that seeds share a program"
    assert best_batch(np.array([3, 0]), 2) == 2
    assert best_batch(np.array([0]), 16) == 1
