"""Simulations side by side: what each of R threads would run alone runs as one program for all of them."""

import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedtp_jax.engine.schedule import Tables

Numbers = Mapping[str, Any]
Under = Callable[[Numbers], AbstractContextManager[None]]


class Simulation(NamedTuple):
    """What its programs are made with that may be another number in each simulation.

    numbers: {name: number}; under: (numbers, which may be traced) -> a context in which they are used.
    """

    numbers: Numbers
    under: Under


@dataclasses.dataclass
class _Call:
    """One simulation's call of a program, and what came of it."""

    number: int
    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    donate: tuple[int, ...]
    done: bool = False
    result: Any = None
    error: BaseException | None = None


class Meeting:
    """Where R threads meet, each with a simulation: the calls of one program by several are one call.

    A call waits until every simulation that is still here has one. So they need not be in step: those that
    call the same program with the same shapes share it. It is one for R simulations always, and works for
    some of them twice when others are done or call something else: which code computes a simulation, and so
    its every bit, does not depend on how far the others are.

    Args:
      run: (name, function, *arguments, donate) -> the result of the compiled program.
      simulations: R, of which all have the same names of numbers.
      common: arrays that they have in common.
    """

    def __init__(self, run: Callable[..., Any], simulations: Sequence[Simulation], common: Any) -> None:
        self._run, self._simulations, self._common = run, simulations, common
        self._changed = threading.Condition()
        self._here, self._waiting = set(range(len(simulations))), dict[int, _Call]()
        self._own = threading.local()

    @contextmanager
    def join(self, number: int) -> Iterator[None]:
        """Inside it the thread is that of simulation `number` (from 0); then it leaves."""
        self._own.number = number
        try:
            yield
        finally:
            with self._changed:
                self._here.discard(number)
                self._answer_if_all_wait()

    def call(self, name: str, function: Callable[..., Any], args: Any, donate: tuple[int, ...]) -> Any:
        """The result of this simulation's program."""
        call = _Call(self._own.number, name, function, args, donate)
        with self._changed:
            self._waiting[call.number] = call
            self._answer_if_all_wait()
            self._changed.wait_for(lambda: call.done)
        if call.error:
            raise call.error
        return call.result

    def _answer_if_all_wait(self) -> None:
        if not self._waiting or len(self._waiting) < len(self._here):
            return
        # by number, not by who came first: an answer is the same in every run
        calls = [self._waiting[number] for number in sorted(self._waiting)]
        self._waiting.clear()
        alike: dict[Any, list[_Call]] = {}
        for call in calls:
            alike.setdefault(program_key(call.name, call.args), []).append(call)
        for some in alike.values():
            self._answer(some)
        self._changed.notify_all()

    def _answer(self, calls: Sequence[_Call]) -> None:
        """Run calls of one program."""
        first, again = calls[0], len(self._simulations) - len(calls)
        try:
            simulations = [self._simulations[call.number] for call in [*calls, *[first] * again]]
            each = [call.args for call in calls] + [_copy(first.args) for _ in range(again)]
            name, function, args = beside(first.name, first.function, each, simulations, self._common)
            results = self._run(name, function, *args, donate=first.donate)
            for call, result in zip(calls, results[: len(calls)], strict=True):
                call.result = result
        except BaseException as error:  # it is raised in each one's thread
            for call in calls:
                call.error = error
        for call in calls:
            call.done = True


def program_key(name: str, args: Any) -> Any:
    """What decides which compiled program a call runs: its name, and the shapes of its arguments."""
    shapes = jax.tree.map(lambda x: (x.shape, str(x.dtype)), args)
    return name, jax.tree.structure(shapes), tuple(jax.tree.leaves(shapes))


def beside(
    name: str,
    function: Callable[..., Any],
    each: Sequence[tuple[Any, ...]],
    simulations: Sequence[Simulation],
    common: Any,
) -> tuple[str, Callable[..., Any], tuple[Any, ...]]:
    """`function`, the first simulation's, for all R of them, given the arguments of each.

    Returns:
      (its name; the function, whose R results are a list; its arguments: for each of `function`'s a tuple of
      R, or the one that all have, if it is of arrays in `common`; the numbers last).
    """
    columns = [*zip(*each, strict=True)]
    known = {id(array) for array in jax.tree.leaves(common)}
    shared = [_is_of(known, column[0]) for column in columns]
    args = tuple(column[0] if one else column for column, one in zip(columns, shared, strict=True))

    def with_numbers(numbers: Numbers, *args: Any) -> Any:
        with simulations[0].under(numbers):
            return function(*args)

    def program(*args: Any) -> list[Any]:
        *own, numbers = args
        stacked = [arg if one else _stack(arg) for arg, one in zip(own, shared, strict=True)]
        axes = [None if one else _axes(arg) for arg, one in zip(stacked, shared, strict=True)]
        results = jax.vmap(with_numbers, (0, *axes), axis_size=len(each))(numbers, *stacked)
        return [jax.tree.map(lambda x, r=r: x[r], results) for r in range(len(each))]

    values = {
        name: np.array([own.numbers[name] for own in simulations], np.float32)
        for name in simulations[0].numbers
    }
    return f"{name} of {len(each)}", program, (*args, values)


def _is_of(known: set[int], argument: Any) -> bool:
    """Whether an argument is made of arrays with these ids."""
    leaves = jax.tree.leaves(argument)
    return bool(leaves) and all(id(leaf) in known for leaf in leaves)


def _copy(arguments: Any) -> Any:
    """Arrays of their own: two arguments that are given away must not be one."""
    # JAX forgets where an array without numbers lies
    return jax.tree.map(lambda array: array.copy() if array.size else array, arguments)


def _is_tables(x: Any) -> bool:
    return isinstance(x, Tables)


def _stack(simulations: Sequence[Any]) -> Any:
    """Arguments of R simulations as one with a leading axis R, schedules in step."""

    def stack(*parts: Any) -> Any:
        return in_step(parts) if _is_tables(parts[0]) else jnp.stack(parts)

    return jax.tree.map(stack, *simulations, is_leaf=_is_tables)


def _axes(stacked: Any) -> Any:
    """For vmap: of a stacked argument all simulations have the segments of its schedules in common."""

    def axis(x: Any) -> Any:
        own: Any = [0] * 6
        return Tables(*own, *[None, None]) if _is_tables(x) else 0

    return jax.tree.map(axis, stacked, is_leaf=_is_tables)


def in_step(schedules: Sequence[Tables]) -> Tables:
    """The tables of R schedules of one layout with common segments; traceable.

    A segment of theirs ends where one of any schedule's does: all lanes of all simulations then run the same
    loop, as the lanes of one do.

    Returns:
      Tables whose `bounds` [D, S + 1] and `segments` [D] are common and whose other leaves have a leading
      axis R; `slot`, `starts`, `ends` are [R, D, S, L], with S = R * (C + 1) - 1.
    """
    bounds = jnp.stack([_closed(tables) for tables in schedules], 1)  # [D, R, C + 1]
    common, segments = jax.vmap(_union)(bounds.reshape(len(bounds), -1))
    parts = [jax.vmap(_cut)(tables, _closed(tables), common) for tables in schedules]
    slot, starts, ends = (jnp.stack(part) for part in zip(*parts, strict=True))
    work: list[Any] = [jnp.stack(part) for part in zip(*(tables[:3] for tables in schedules), strict=True)]
    found: list[Any] = [*work, slot, starts, ends, common, segments]
    return Tables(*found)


def _closed(tables: Tables) -> jax.Array:
    """The bounds [D, C + 1] with the last tick in place of what follows it."""
    last = jnp.take_along_axis(tables.bounds, tables.segments[:, None], 1)
    return jnp.where(jnp.arange(tables.bounds.shape[1]) <= tables.segments[:, None], tables.bounds, last)


def _union(bounds: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(the different ticks in order, the last one repeated; how many segments they bound)."""
    size = len(bounds)
    ticks = jnp.unique(bounds, size=size, fill_value=bounds.max())
    return ticks, jnp.sum(ticks[1:] > ticks[:-1], dtype=jnp.int32)


def _cut(tables: Tables, bounds: jax.Array, common: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(slot, starts, ends) [segments, L] of one device's schedule, cut at the ticks `common`."""
    first, last = common[:-1], common[1:]
    of = jnp.searchsorted(bounds, first, side="right") - 1
    inside = (of < tables.segments)[:, None]
    of = jnp.minimum(of, len(tables.slot) - 1)
    starts = tables.starts[of] & inside & (bounds[of] == first)[:, None]
    ends = tables.ends[of] & inside & (bounds[of + 1] == last)[:, None]
    return tables.slot[of], starts, ends
