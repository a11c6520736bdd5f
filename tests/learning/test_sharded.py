"""A hypernetwork in parts on several devices: what one on a single device is, with less on each."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from marks import every_day
from ragged_clients import CLIENTS, HYPER, ROUNDS, make_simulator

from fedtp_jax.core import tree
from fedtp_jax.engine.mesh import AXIS, make_mesh
from fedtp_jax.learning import sharded

RUNS = [
    ("fedtp", {"devices": 2}),
    ("fedtp", {"devices": 4, "lanes": 2}),
    ("fedtp_per", {"devices": 4, "wave_size": 2}),
    ("fedtp, sparse", {"devices": 4}),
    ("fedtp, spectral norm", {"devices": 2}),
    ("fedtp_rod", {"devices": 2, "wave_size": 3}),
    ("pfedhn on text", {"devices": 2}),  # leaves of many sizes, some of which do not divide
]


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """Heads of 8 columns count as wide."""
    monkeypatch.setattr(sharded, "WIDE", 8)


def after_rounds(name, **layout):
    sim = make_simulator(name, **layout)
    state = sim.init()
    for round in range(ROUNDS):
        state, _ = sim.round(state, round, sim.prepare(round))
    return sim, state


def seen(sim, state):
    """All that there is to see of a state: the server's part, rows, an evaluation."""
    server = sim.fetch(state)._replace(rows=state.rows.take(np.arange(CLIENTS)))
    return server, sim.evaluate(state)[:3]


@functools.cache
def on_one_device(name):
    return seen(*after_rounds(name))


def in_parts(leaves):
    return {path for path, leaf in leaves.items() if not leaf.sharding.is_fully_replicated}


@pytest.mark.parametrize(("name", "layout"), every_day(RUNS, [RUNS[1], RUNS[2], RUNS[6]]), ids=str)
def test_it_is_the_one_on_a_single_device(name, layout):
    sim, state = after_rounds(name, **layout)
    assert any(path.endswith("/kernel") for path in in_parts(state.generator))
    assert not in_parts(state.shared)
    found, expected = seen(sim, state), on_one_device(name)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=3e-6)


def test_no_device_holds_or_receives_a_whole_head():
    sim = make_simulator("fedtp", devices=4)
    (server, rows, totals, *others), test = sim._shapes(sim.layout), sim.evaluators.test
    heads = [leaf for leaf in server.generator.values() if leaf.shape == (HYPER.hidden, 64)]
    assert len(heads) == 3
    sim.compile()
    programs = [
        sim.programs.start("train", sim._train_wave, server, rows, totals, *others, donate=(2,)),
        sim.programs.start("zeros", sim._zero_totals, server),
        sim.programs.start("aggregate", sim.method.aggregate, server, *totals, donate=(0,)),
        sim.programs.start("evaluate", test._wave, *test._shapes(test.layout)),
    ]
    for program in programs:
        text = program.result().as_text()
        assert f"f32[{HYPER.hidden},16]" in text
        assert f"f32[{HYPER.hidden},64]" not in text and f"f32[64,{HYPER.hidden}]" not in text


def test_a_round_consumes_the_state_and_gives_one_that_lies_alike():
    sim = make_simulator("fedtp", devices=4)
    before = sim.init()
    after, _ = sim.round(before, 0, sim.prepare(0))
    parts = [(state.generator, state.generator_opt) for state in (before, after)]
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(parts[0]))
    lie = [[leaf.sharding for leaf in jax.tree.leaves(part)] for part in parts]
    assert lie[0] == lie[1]
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(parts[1]))
    whole = tree.num_bytes(parts[1])
    assert whole / 4 < held < 0.4 * whole  # of the trunk each has a copy


def test_a_state_goes_from_one_number_of_devices_to_another():
    sims = [make_simulator("fedtp", devices=devices) for devices in (4, 1, 2)]
    state = sims[0].init()
    first = sims[0].fetch(state)._replace(rows={})
    for sim in sims[1:]:
        state = sim.place(sim.fetch(state))
        jax.tree.map(np.testing.assert_array_equal, sim.fetch(state)._replace(rows={}), first)


@pytest.mark.parametrize(
    ("devices", "shape", "spec"),
    [
        (4, (150, 65536), P(None, AXIS)),
        (4, (65536,), P(AXIS)),
        (1, (150, 65536), P()),
        (3, (150, 65536), P()),
        (4, (150, 64), P()),
        (4, (), P()),
    ],
)
def test_wide_columns_that_divide_are_split(devices, shape, spec, monkeypatch):
    monkeypatch.undo()
    assert sharded.by_columns(make_mesh(devices), shape).spec == spec
