"""Checkpoints of the state between two rounds: atomic, checked when read, restored bit for bit."""

import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from fedtp_jax.methods.base import State

T = TypeVar("T")


class Checkpoints:
    """The checkpoints in one folder, written by orbax: a step is a number of finished rounds.

    Orbax writes beside and renames, so a killed process leaves no half of a checkpoint; a checksum finds
    what was damaged later.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        import orbax.checkpoint as ocp  # costs a quarter second, and only runs with a folder need it

        self._ocp = ocp
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
        self._manager = ocp.CheckpointManager(folder.resolve(), options=options)

    def save(self, rounds: int, state: State, meta: dict[str, Any]) -> None:
        """Save `state` after `rounds` rounds; returns before all is on disk. `meta` is plain JSON values."""
        leaves = _numbered(jax.device_get(state))
        args = self._ocp.args.Composite(
            state=self._ocp.args.StandardSave(leaves),
            meta=self._ocp.args.JsonSave({**meta, "rounds": rounds, "checksum": _checksum(leaves)}),
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

    def state(self, rounds: int, like: State) -> State:
        """The saved state in the structure of `like` (arrays or shapes); ValueError if it is damaged."""
        wanted = {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in _numbered(like).items()}
        restored = self._manager.restore(
            rounds, args=self._ocp.args.Composite(state=self._ocp.args.StandardRestore(wanted))
        ).state
        if _checksum(restored) != self.meta(rounds)["checksum"]:
            raise ValueError("its checksum does not fit its contents")
        leaves = [restored[name] for name in sorted(restored)]
        return jax.tree.unflatten(jax.tree.structure(like), leaves)

    def newest(self, like: State) -> tuple[int, State] | None:
        """(finished rounds, state) of the newest checkpoint that can be read; a damaged one is warned of."""
        return self._first_readable(lambda rounds: (rounds, self.state(rounds, like)))

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


def _numbered(state: State) -> dict[str, Any]:
    """Leaves by position: their paths hold characters that storage does not love."""
    return {f"leaf_{number:05d}": leaf for number, leaf in enumerate(jax.tree.leaves(state))}


def _checksum(leaves: dict[str, Any]) -> int:
    crc = 0
    for name in sorted(leaves):
        leaf = np.ascontiguousarray(leaves[name])
        crc = zlib.crc32(f"{name}{leaf.dtype}{leaf.shape}".encode(), crc)
        crc = zlib.crc32(leaf.data, crc)
    return crc
