"""Simulations side by side: their calls meet, their schedules are brought in step, nobody's work changes."""

import contextlib
import itertools
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from replay import replay

from fedtp_jax.core.rng import Purpose, generator
from fedtp_jax.engine.meeting import Simulation, in_step
from fedtp_jax.engine.programs import Programs
from fedtp_jax.engine.schedule import Schedule, build_schedule, plan_layout, shuffled_batches


def schedule_of(sizes, layout, seed):
    ends = np.cumsum([0, *sizes])
    shards = [np.arange(*pair) for pair in itertools.pairwise(ends)]
    return build_schedule(
        [shuffled_batches(s, 2, 4, generator(seed, Purpose.BATCHES, 0, k)) for k, s in enumerate(shards)],
        layout,
    )


@pytest.mark.parametrize(("devices", "lanes"), [(1, 1), (2, 1), (1, 3), (2, 2)])
def test_schedules_in_step_do_what_each_does_alone(devices, lanes):
    random = np.random.default_rng(devices + lanes)
    sizes = [random.integers(0, 30, 7) for _ in range(3)] + [np.array([9] + [0] * 6)]
    steps = np.sort(-(-np.max(sizes, 0) // 4) * 2)[::-1]
    layout = plan_layout(np.full(7, steps.max()), devices, lanes, 4)
    each = [schedule_of(own, layout, seed) for seed, own in enumerate(sizes)]
    merged = jax.tree.map(np.asarray, jax.jit(lambda *tables: in_step(tables))(*(s.tables for s in each)))
    assert merged.segments.max() <= len(each) * layout.slots
    for number, alone in enumerate(each):
        own = merged._replace(
            **{name: table[number] for name, table in merged._asdict().items() if table.ndim > 2}
        )
        together = Schedule(own, alone.position, alone.useful_steps, alone.executed_steps)
        assert replay(together, layout)[0] == replay(alone, layout)[0]


def meet(calls_of, simulations, common=()):
    """What each thread's calls returned, or raised."""
    programs, found = Programs({}), [None] * len(simulations)

    def run(number, meeting):
        try:
            with meeting.join(number):
                found[number] = [programs(*call) for call in calls_of(number)]
        except ValueError as error:
            found[number] = error

    with programs.side_by_side(simulations, common) as meeting:
        threads = [threading.Thread(target=run, args=(n, meeting)) for n in range(len(simulations))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return programs, found


PLAIN = Simulation({}, lambda _: contextlib.nullcontext())  # without numbers of its own


class Scaled:
    """Multiplies by a number that its simulation has."""

    def __init__(self, number):
        self.number = number
        self.simulation = Simulation({"number": number}, self.under)

    @contextlib.contextmanager
    def under(self, numbers):
        before, self.number = self.number, numbers["number"]
        yield
        self.number = before

    def program(self, x):
        return self.number * x


def test_calls_of_one_program_are_one_call():
    common = jnp.arange(3.0)

    def add(x, y):
        return x + y

    def calls(number):
        yield "add", add, jnp.full(3, float(number)), common
        if number == 2:
            return  # it is done before the others
        yield ("add", add, jnp.ones(2), jnp.ones(2)) if number else ("twice", lambda x: 2 * x, common)

    programs, found = meet(calls, [PLAIN] * 3, common)
    for number in range(3):
        np.testing.assert_array_equal(found[number][0], np.arange(3) + number)
    np.testing.assert_array_equal(found[0][1], 2 * np.arange(3))
    np.testing.assert_array_equal(found[1][1], [2, 2])
    assert programs.count == 3  # add of 3, twice, add


def test_each_has_its_own_numbers_even_when_it_is_the_last():
    scaled = [Scaled(2.0), Scaled(3.0), Scaled(5.0)]

    def calls(number):
        for _ in range(number + 1):
            yield "scale", scaled[number].program, jnp.ones(2)

    programs, found = meet(calls, [one.simulation for one in scaled])
    for one, answers in zip(scaled, found, strict=True):
        np.testing.assert_array_equal(answers, np.full((len(answers), 2), one.number))
    assert programs.count == 1  # though two of them were done before the last


def test_what_goes_wrong_is_raised_in_each_thread():
    def wrong(x):
        raise ValueError("no such program")

    _, found = meet(lambda number: [("wrong", wrong, jnp.ones(2))], [PLAIN] * 2)
    assert [str(error) for error in found] == ["no such program"] * 2
