"""What the server makes of the rows that a cohort's clients send of their own (`Method.mix`)."""

from collections.abc import Callable

import jax
import numpy as np

from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError, nearest
from fedtp_jax.core.importable import call
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.population import Population
from fedtp_jax.engine.workbench import Workbench
from fedtp_jax.learning.method import Method, State
from fedtp_jax.simulation.initial_state import InitialState


class Mixing:
    """Combines the rows of a round's whole cohort, whatever the waves in which it trained.

    Args:
      method: gives the method whose `mix` is run.
      initial: tells of the rows.
      bench: the devices, of which each computes all of it.
      size: K, of a cohort; where fewer return, rows that do not count fill it up.
    """

    def __init__(
        self, method: Callable[[], Method], initial: InitialState, bench: Workbench, size: int
    ) -> None:
        self._method, self._initial, self._bench, self._size = method, initial, bench, size
        self._up = method().mixed(tree.rows_like(initial.own_row, size), "up")
        if method().mix:
            self._check()

    def _check(self) -> None:
        """Raise UserError unless what is named are rows of the clients, and what comes back are new ones."""
        mix, rows = self._method().mix, self._initial.own_row
        assert mix, "it is asked for where there is one"
        for way, begin in [*(("up", begin) for begin in mix.up), *(("down", begin) for begin in mix.down)]:
            if not any(path.startswith(begin) for path in rows):
                raise UserError(
                    f"method.mix.{way}: {begin!r} begins the path of no row{nearest(begin, rows)}; clients "
                    f"have {', '.join(rows) or 'none'}"
                )
        if self._size == 1:
            raise UserError(
                "training.cohort_size: no round has more than one client, but the method combines what "
                "several send; give 2 or more, or choose another method"
            )
        counts = jax.ShapeDtypeStruct((self._size,), bool)
        given = self._combine, self._initial.server, self._up, counts
        made = call(jax.eval_shape, "combine", "method.mix", *given)
        expected = self._method().mixed(tree.rows_like(rows, self._size), "down")
        found = _shapes(made) if isinstance(made, dict) else f"a {type(made).__name__}"
        if found != _shapes(expected):
            raise UserError(
                f"method.mix.combine: gives {found}, expected {_shapes(expected)}: new rows for all "
                "that is under `down`, and for nothing else"
            )

    def step(self, server: State, rows: Population, ids: np.ndarray) -> None:
        """Replace the rows of those of the clients `ids` that there are; others' ids are N."""
        if not self._method().mix:
            return
        # in order of their ids, so that sums do not depend on lanes and waves
        there = np.sort(ids[ids < rows.clients])
        some = np.pad(there, (0, self._size - len(there)), constant_values=rows.clients)
        sent = self._bench.replicate((rows.take(some, list(self._up)), some < rows.clients))
        rows.put(some, self._bench.fetch(self._bench.programs("mix", self._combine, server, *sent))())

    def _combine(self, server: State, rows: Leaves, counts: jax.Array) -> Leaves:
        mix = self._method().mix
        assert mix, "it is asked for where there is one"
        return mix.combine(server, rows, counts)

    def compile(self, server: State) -> None:
        """Start to compile the program, if there is one; `server` has shapes and placement of the state."""
        if self._method().mix:
            shapes = self._bench.abstract((self._up, jax.ShapeDtypeStruct((self._size,), bool)))
            self._bench.programs.start("mix", self._combine, server, *shapes)


def _shapes(rows: Leaves) -> dict[str, str]:
    return {path: f"{row.dtype.name}{list(row.shape)}" for path, row in sorted(rows.items())}
