"""Checkpoints of the state between two rounds: atomic, checked when read, restored bit for bit."""

import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from fedtp_jax import hosts
from fedtp_jax.errors import UserError, in_one_line
from fedtp_jax.initial import Initial
from fedtp_jax.methods.base import State
from fedtp_jax.population import Population, Rows
from fedtp_jax.tree import num_bytes, rows_like

T = TypeVar("T")


class Saved(NamedTuple):
    """What a checkpoint holds of a state: all but its rows, and the rows {path: [K, ...]} of `ids` [K]."""

    server: State
    ids: np.ndarray
    rows: Rows

    def state(self, population: Population) -> State:
        """The state, its rows put into `population`."""
        population.put(self.ids, self.rows)
        return self.server._replace(rows=population)


class Checkpoints:
    """The checkpoints in one folder, written by orbax: a step is a number of finished rounds.

    Orbax writes beside and renames, so a killed process leaves no half of a checkpoint; a checksum finds
    what was damaged later. Each process that opens them reads or writes by itself, and waits for no other.
    """

    def __init__(self, folder: Path, keep: int, read_only: bool = False) -> None:
        import orbax.checkpoint as ocp  # costs a quarter second, and only runs with a folder need it

        self._ocp = ocp
        writes = not read_only  # a reader must not clean up what a live run is writing
        if writes:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"{folder}: is no folder ({in_one_line(error)}); take it away") from None
        this = hosts.index()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            create=False,
            cleanup_tmp_directories=writes,
            read_only=read_only,
            multiprocessing_options=ocp.options.MultiprocessingOptions(this, active_processes={this}),
        )
        self._manager = ocp.CheckpointManager(folder.resolve(), options=options)

    def save(self, rounds: int, state: State, meta: dict[str, Any]) -> None:
        """Save `state` after `rounds` rounds; returns before all is on disk. `meta` is plain JSON values.

        Of the clients' rows those that were written: the others are functions of the seed.
        """
        written = state.rows.written_ids
        content = _pack((jax.device_get(state._replace(rows={})), written, state.rows.take(written)))
        facts = {"rounds": rounds, "checksum": zlib.crc32(content.data), "rows": len(written)}
        args = self._ocp.args.Composite(
            state=self._ocp.args.StandardSave({"leaves": content}),
            meta=self._ocp.args.JsonSave({**meta, **facts}),
        )
        self._manager.save(rounds, args=args)

    def steps(self) -> list[int]:
        """Numbers of finished rounds of which a checkpoint exists, newest first."""
        return sorted(self._manager.all_steps(), reverse=True)

    def meta(self, rounds: int) -> dict[str, Any]:
        """What was saved beside the state. Raises what orbax raises when it is damaged."""
        restored = self._manager.restore(
            rounds, args=self._ocp.args.Composite(meta=self._ocp.args.JsonRestore())
        )
        return dict(restored.meta)

    def saved(self, rounds: int, initial: Initial) -> Saved:
        """What was saved of the state; ValueError if it is damaged."""
        meta = self.meta(rounds)
        like = initial.server, np.zeros(meta["rows"], np.int64), rows_like(initial.row, meta["rows"])
        wanted = {"leaves": np.zeros(num_bytes(like), np.uint8)}
        content = self._manager.restore(
            rounds, args=self._ocp.args.Composite(state=self._ocp.args.StandardRestore(wanted))
        ).state["leaves"]
        if zlib.crc32(content.data) != meta["checksum"]:
            raise ValueError("its checksum does not fit its contents")
        return Saved(*_unpack(content, like))

    def newest(self, initial: Initial) -> tuple[int, Saved] | None:
        """(finished rounds, state) of the newest checkpoint that can be read; a damaged one is warned of."""
        return self._first_readable(lambda rounds: (rounds, self.saved(rounds, initial)))

    def newest_meta(self) -> dict[str, Any] | None:
        """What the newest readable checkpoint carries beside the state."""
        return self._first_readable(self.meta)

    def _first_readable(self, read: Callable[[int], T]) -> T | None:
        for rounds in self.steps():
            try:
                return read(rounds)
            except Exception as error:  # orbax and its storage raise many kinds for a damaged file
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                warnings.warn(
                    f"the checkpoint of round {rounds} is damaged and skipped ({reason[:120]})", stacklevel=3
                )
        return None

    def forget_after(self, rounds: int) -> None:
        """Delete checkpoints of later rounds: damaged ones that a resumed run will write anew."""
        for step in self.steps():
            if step > rounds:
                self._manager.delete(step)

    def close(self) -> None:
        """Wait until everything is on disk."""
        self._manager.wait_until_finished()
        self._manager.close()


def _pack(content: Any) -> np.ndarray:
    """All leaves' bytes in one array: one read at restoring, which succeeds or fails as a whole."""
    parts = [np.ascontiguousarray(leaf).reshape(-1).view(np.uint8) for leaf in jax.tree.leaves(content)]
    return np.concatenate(parts)


def _unpack(content: np.ndarray, like: Any) -> Any:
    """The inverse of `_pack`, given the shapes and dtypes."""
    shapes, structure = jax.tree.flatten(like)
    ends = np.cumsum([shape.size * shape.dtype.itemsize for shape in shapes])
    if ends[-1] != len(content):
        raise ValueError(f"it holds {len(content)} bytes where {ends[-1]} are expected")
    parts = np.split(content, ends[:-1])
    leaves = [part.view(s.dtype).reshape(s.shape) for part, s in zip(parts, shapes, strict=True)]
    return jax.tree.unflatten(structure, leaves)
