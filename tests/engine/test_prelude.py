"""Steps before the local ones: how many, of which examples, how they are numbered and counted."""

import numpy as np
import pytest

from fedtp_jax.core.rng import Purpose, generator
from fedtp_jax.engine.prelude import Prelude
from fedtp_jax.engine.schedule import build_schedule, plan_layout, shuffled_batches
from fedtp_jax.engine.waves import prepare_wave
from fedtp_jax.engine.workbench import make_facts

SHARDS = [np.arange(10, 10 + size) for size in (1, 4, 11)]
PRELUDE, BATCH = Prelude(passes=2, share=0.6), 4
EXAMPLES, STEPS = [1, 3, 7], [2, 2, 4]  # of a pass, of both


def order(k):
    return generator(1, Purpose.BATCHES, 0, k)


def batches(k, steps=3):
    return PRELUDE.and_local_steps(SHARDS[k], 1, BATCH, order(k), steps)


@pytest.mark.parametrize("k", range(3))
def test_passes_over_a_share_come_first(k):
    assert PRELUDE.steps(len(SHARDS[k]), BATCH) == STEPS[k]
    found, straggler = batches(k), batches(k, steps=1)
    assert (found.prelude, len(found.valid)) == (STEPS[k], STEPS[k] + 3)
    passes = np.split(np.arange(STEPS[k]), 2)
    seen = [np.concatenate([found.positions[s, : found.valid[s]] for s in steps]) for steps in passes]
    assert set(seen[0]) == set(seen[1]) <= set(SHARDS[k])
    assert len(seen[0]) == len(set(seen[0])) == EXAMPLES[k]
    whole = STEPS[k] + 1
    for part in ("positions", "valid"):
        np.testing.assert_array_equal(getattr(straggler, part), getattr(found, part)[:whole])
    assert straggler.prelude == found.prelude


def test_without_passes_nothing_changes():
    for a, b in zip(
        Prelude().and_local_steps(SHARDS[2], 2, BATCH, order(2), 5),
        shuffled_batches(SHARDS[2], 2, BATCH, order(2), 5),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(Prelude().steps(np.array([0, 3]), BATCH), [0, 0])


def test_lanes_do_it_and_nobody_else_counts_it():
    parts, ids = [batches(k) for k in range(3)], np.arange(3)
    layout = plan_layout(np.array([5, 5, 7]), devices=1, lanes=1, batch=BATCH)
    schedule = build_schedule(parts, layout)
    assert schedule.useful_steps == 5 + 5 + 7 == layout.ticks
    assert schedule.tables.step[0, :7, 0].tolist() == [-4, -3, -2, -1, 0, 1, 2], "the longest client's"
    facts = make_facts(ids, parts)
    assert (facts.steps.tolist(), facts.last_pass.tolist()) == ([3, 3, 3], [2, 2, 0])
    prepared = prepare_wave(ids, parts, facts, layout, 3, lambda arrays: arrays)
    assert sorted(prepared.examples.tolist()) == [3, 11, 12]
