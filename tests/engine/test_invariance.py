"""One seed, one result: whatever the layout, however often it stops, whoever prepares the waves."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from marks import every_day
from ragged_clients import CLIENTS, SEED, make_simulator

from fedtp_jax.core import rng
from fedtp_jax.engine.lanes import ClientWork
from fedtp_jax.engine.waves import Prefetch

ROUNDS, CASE = 3, "fedtp_per"
TOLERANCE = {"rtol": 1e-5, "atol": 2e-6}  # of states after the rounds: sums in another order
LAYOUTS = [
    {"lanes": lanes, "devices": devices, "wave_size": wave_size}
    for lanes in (1, 3, "auto")
    for devices in (1, 2, 4)
    for wave_size in ("auto", 2)
]
HOW = [{"ahead": False}, {"stops": (0,)}, {"stops": (0, 1), "ahead": False}]


def named(layout):
    return "-".join(f"{name}={value}" for name, value in layout.items())


def host(state):
    return jax.device_get((state._replace(rows={}), state.rows.take(np.arange(CLIENTS))))


@functools.cache
def simulator(**layout):
    return make_simulator(CASE, **layout)


@functools.cache
def outcome(ahead=True, stops=(), **layout):
    """The state after the rounds, prepared ahead or not, put away and taken up again after some of them."""
    sim = simulator(**layout)
    state = sim.init()
    prefetch = Prefetch(map(sim.prepare, range(ROUNDS)))
    for round in range(ROUNDS):
        waves = prefetch.take() if ahead else sim.prepare(round)
        state, _ = sim.round(state, round, waves)
        if round in stops:
            server, rows = host(state)
            population = sim.initial.population()
            population.put(np.arange(CLIENTS), rows)
            state = sim.place(server._replace(rows=population))
    prefetch.close()
    return host(state)


BASE = {"lanes": 1, "devices": 1, "wave_size": "auto"}
RUN = [
    {"lanes": 3, "devices": 1, "wave_size": "auto"},
    {"lanes": 1, "devices": 2, "wave_size": 2},
    {"lanes": 3, "devices": 4, "wave_size": "auto"},
]


@pytest.mark.slow
@pytest.mark.parametrize("layout", RUN, ids=named)
def test_states_are_those_of_one_lane(layout):
    for a, b in zip(jax.tree.leaves(outcome(**layout)), jax.tree.leaves(outcome(**BASE)), strict=True):
        np.testing.assert_allclose(a, b, **TOLERANCE)


@pytest.mark.parametrize("layout", [BASE, RUN[1]], ids=named)
@pytest.mark.parametrize("how", every_day(HOW, HOW[::2]), ids=str)
def test_on_one_layout_every_bit_is_the_same(layout, how):
    jax.tree.map(np.testing.assert_array_equal, outcome(**how, **layout), outcome(**layout))


def traces(layout, round):
    """{client: [(number, positions of the examples, bits of the key) of each local step]} in `round`."""
    sim, steps = simulator(**layout), 12

    def start(shared, row, key):
        return jnp.zeros((steps, 4), jnp.int32), jnp.zeros(steps, jnp.uint32), jnp.zeros((), jnp.int32)

    def step(shared, row, carry, batch, key):
        examples, bits, count = carry
        seen = jnp.where(batch.mask > 0, batch.y, -1)
        return examples.at[batch.step].set(seen), bits.at[batch.step].set(jax.random.bits(key)), count + 1

    def finish(shared, row, carry):
        return jnp.zeros(()), carry

    work = ClientWork(start, step, finish)
    m = len(sim.partition.train.indices) + len(sim.partition.test.indices)
    numbered = dataclasses.replace(sim.bench.examples, y=sim.bench.replicate(np.arange(m, dtype=np.int32)))
    key = rng.key(SEED, rng.Purpose.CLIENT, round)
    run = jax.jit(lambda wave, examples, key: sim.bench.run(work, wave, examples, {}, {}, key)[1])
    found = {}
    for prepared in sim.prepare(round):
        examples, bits, count = jax.device_get(run(prepared.wave, numbered, key))
        for slot in np.flatnonzero(prepared.ids < CLIENTS):
            n = int(count[slot])
            found[int(prepared.ids[slot])] = examples[slot][:n].tolist(), bits[slot][:n].tolist()
    return found


@functools.cache
def base_traces(round):
    return traces(BASE, round)


@pytest.mark.parametrize("layout", every_day(LAYOUTS, LAYOUTS[::5], LAYOUTS[::2]), ids=named)
def test_cohorts_batches_and_masks_are_the_same(layout, monkeypatch):
    for round in range(2):
        assert traces(layout, round) == base_traces(round)
