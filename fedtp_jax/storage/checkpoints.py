"""Checkpoints between two rounds: atomic, checked when read, restored bit for bit.

A checkpoint holds all that a run goes on from: the state, and the logs as they were. Whatever else is in a
run's folder is made from it, and made again if it is lost.
"""

import contextlib
import json
import logging
import shutil
import tempfile
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import jax
import numpy as np

from fedtp_jax.core import hosts
from fedtp_jax.core.errors import UserError, in_one_line
from fedtp_jax.core.tree import num_bytes, rows_like
from fedtp_jax.engine.population import Population, Rows, kept
from fedtp_jax.learning.method import State
from fedtp_jax.simulation.initial_state import InitialState
from fedtp_jax.storage.csv_log import csv_rows
from fedtp_jax.storage.run_folder import CLIENTS, TRAINED, WINDOW

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
PATTERN = "[]*?\\"


class Saved(NamedTuple):
    """What a checkpoint holds: the state without rows, rows {path: [K, ...]} of `ids` [K], the logs.

    Of the clients' rows those that were written: the others are functions of the seed.
    """

    server: State
    ids: np.ndarray
    rows: Rows
    logs: dict[str, bytes]

    @classmethod
    def of(cls, state: State, logs: Mapping[str, bytes] | None = None) -> "Saved":
        """What is kept of a state; `logs` {name: content}."""
        ids, rows = state.rows.written_ids, state.rows
        told = {**(logs or {}), TRAINED: rows.trained.astype("<i4").tobytes()}
        return cls(state._replace(rows={}), ids, kept(rows.take(ids)), told)

    def copied(self) -> "Saved":
        """With the server's part on the host: the devices go on with theirs."""
        return self._replace(server=jax.tree.map(np.array, jax.device_get(self.server)))

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of metrics.csv until then."""
        return csv_rows(self.logs["metrics"])

    def state(self, population: Population) -> State:
        """The state, its rows put into `population`; of version 0.1.0 everybody counts as trained."""
        population.put(self.ids, self.rows)
        trained = np.frombuffer(self.logs.get(TRAINED, b""), "<i4")
        population.trained[:] = trained if len(trained) else 1
        return self.server._replace(rows=population)

    def clients(self, number: int) -> "tuple[pd.DataFrame | None, np.ndarray]":
        """(the clients' table, `number` accuracies of each evaluation); nothing of version 0.1.0."""
        import pandas as pd

        table, window = self.logs.get(CLIENTS), self.logs.get(WINDOW, b"")
        before = np.frombuffer(window, "<f8").reshape(-1, number)
        return (pd.DataFrame(csv_rows(table)) if table else None), before


class Checkpoints:
    """The checkpoints in one folder, written by orbax: a step is a number of finished rounds.

    Orbax writes beside and renames, so a killed process leaves no half of a checkpoint; checksums find what
    was damaged later. Each process that opens them reads or writes by itself, and waits for no other.
    """

    # orbax cannot tell apart what several threads save at once
    _one_at_a_time = threading.Lock()
    _latest: "ClassVar[Checkpoints | None]" = None  # may be writing still

    def __init__(self, folder: Path, keep: int, read_only: bool = False) -> None:
        self._folder, self._keep, self._read_only = folder.resolve(), keep, read_only
        if not read_only:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"{folder}: is no folder ({in_one_line(error)}); take it away") from None
        self._plain, self._alias = _plain_path(self._folder)
        self._opened: Any = None

    @property
    def _manager(self) -> Any:
        """Orbax's, opened when it is first asked for: a new run's first round need not wait for it."""
        if self._opened is None:
            ocp, this = _orbax(), hosts.index()
            with _quiet() if self._read_only else contextlib.nullcontext():
                options = ocp.CheckpointManagerOptions(
                    max_to_keep=self._keep,
                    create=False,
                    cleanup_tmp_directories=not self._read_only,  # nobody cleans up after a run at work
                    read_only=self._read_only,
                    multiprocessing_options=ocp.options.MultiprocessingOptions(this, active_processes={this}),
                )
                self._opened = ocp.CheckpointManager(self._plain, options=options)
        return self._opened

    def save(self, rounds: int, saved: Saved, meta: dict[str, Any]) -> None:
        """Save what there is after `rounds` rounds; `meta` is plain JSON values.

        Returns before all is on disk. What the storage refuses is warned of, and the checkpoints that are
        there stay.
        """
        server, written, rows, logs = saved
        texts = {name: np.frombuffer(text, np.uint8) for name, text in logs.items()}
        content = _pack((jax.device_get(server), written, rows, texts))
        lengths = {name: len(text) for name, text in texts.items()}
        sizes = {"rounds": rounds, "rows": len(written), "logs": lengths, "bytes": len(content)}
        facts = json.dumps({**meta, **sizes, "checksum": zlib.crc32(content.data)})
        args = _orbax().args.Composite(
            state=_orbax().args.StandardSave({"leaves": content}),
            meta=_orbax().args.JsonSave({"facts": facts, "checksum": zlib.crc32(facts.encode())}),
        )
        with Checkpoints._one_at_a_time:
            (Checkpoints._latest or self).settle()
            Checkpoints._latest = self
            self._attempt(lambda: self._manager.save(rounds, args=args))

    def settle(self) -> None:
        """Wait until what was saved is on disk."""
        if self._opened:
            self._attempt(self._opened.wait_until_finished)

    def _attempt(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except Exception as error:  # orbax and its storage raise many kinds for a full or lost disk
            warnings.warn(
                f"{self._folder}: a checkpoint could not be written ({_reason(error)}); the run goes on, and "
                "what was saved before is kept",
                stacklevel=4,
            )
            with contextlib.suppress(Exception):  # the same once more
                self._manager.close()
            for half in self._folder.glob("*orbax-checkpoint-tmp*"):
                shutil.rmtree(half, ignore_errors=True)  # it may be what fills the disk
            self._opened = None  # an orbax manager that has failed loses count of what there is

    def steps(self) -> list[int]:
        """Numbers of finished rounds of which a checkpoint exists, newest first."""
        return sorted(self._manager.all_steps(), reverse=True)

    def meta(self, rounds: int) -> dict[str, Any]:
        """What was saved beside the state. Raises ValueError, or what orbax raises, when it is damaged."""
        saved = self._manager.restore(
            rounds, args=_orbax().args.Composite(meta=_orbax().args.JsonRestore())
        ).meta
        if set(saved) != {"facts", "checksum"}:
            raise ValueError("it was written by another version of fedtp_jax")
        if zlib.crc32(saved["facts"].encode()) != saved["checksum"]:
            raise ValueError("its checksum does not fit its contents")
        return dict(json.loads(saved["facts"]))

    def saved(self, rounds: int, initial: InitialState) -> Saved:
        """What was saved; ValueError, or what orbax raises, when it is damaged.

        UserError when it is whole, but of another model or method than `initial`.
        """
        meta = self.meta(rounds)
        ids, rows = np.zeros(meta["rows"], np.int64), rows_like(kept(initial.row), meta["rows"])
        texts = {name: np.zeros(length, np.uint8) for name, length in meta["logs"].items()}
        like = initial.server, ids, rows, texts
        size = num_bytes(like)
        if meta.get("bytes", size) != size:  # version 0.1.0 did not say
            raise UserError(
                f"{self._folder}: the checkpoint of round {rounds} holds {meta['bytes']} bytes of state, "
                f"where this model and method have {size}; load it with the code that it was written with"
            )
        wanted = {"leaves": np.zeros(size, np.uint8)}
        content = self._manager.restore(
            rounds, args=_orbax().args.Composite(state=_orbax().args.StandardRestore(wanted))
        ).state["leaves"]
        if zlib.crc32(content.data) != meta["checksum"]:
            raise ValueError("its checksum does not fit its contents")
        server, ids, rows, texts = _unpack(content, like)
        return Saved(server, ids, rows, {name: text.tobytes() for name, text in texts.items()})

    def newest(self, initial: InitialState, until: int | None = None) -> tuple[int, Saved] | None:
        """(finished rounds, state) of the newest checkpoint that can be read; a damaged one is warned of.

        Of those `until` this round, if it is given.
        """
        return self._first_readable(lambda rounds: (rounds, self.saved(rounds, initial)), until)

    def newest_meta(self) -> dict[str, Any] | None:
        """What the newest readable checkpoint carries beside the state."""
        return self._first_readable(self.meta)

    def _first_readable(self, read: Callable[[int], T], until: int | None = None) -> T | None:
        for rounds in (step for step in self.steps() if until is None or step <= until):
            try:
                return read(rounds)
            except (UserError, MemoryError):
                raise
            except Exception as error:  # orbax and its storage raise many kinds for a damaged file
                refused = isinstance(error, PermissionError)
                what = "cannot be read and is skipped" if refused else "is damaged and skipped"
                warnings.warn(
                    f"the checkpoint of round {rounds} {what} ({_reason(error)})",
                    stacklevel=3,
                )
        return None

    def forget_after(self, rounds: int) -> None:
        """Delete checkpoints of later rounds: damaged ones that a resumed run will write anew."""
        for step in self.steps():
            if step > rounds:
                self._manager.delete(step)

    def close(self) -> None:
        """Wait until everything is on disk, and end."""
        with Checkpoints._one_at_a_time:
            self.settle()
            if Checkpoints._latest is self:
                Checkpoints._latest = None
        if self._opened:
            self._opened.close()
        if self._alias:
            self._alias.cleanup()


def _orbax() -> Any:
    import orbax.checkpoint  # long to load, and only runs with a folder need it

    return orbax.checkpoint


def _plain_path(folder: Path) -> tuple[Path, "tempfile.TemporaryDirectory[str] | None"]:
    """(a path of the folder that orbax takes as it stands, the folder to delete afterwards).

    Orbax takes signs such as [ for a pattern, and loses what it has written.
    """
    if not set(PATTERN) & set(folder.parent.as_posix()):
        return folder, None
    alias = tempfile.TemporaryDirectory(prefix="fedtp-")
    try:
        (plain := Path(alias.name) / folder.name).symlink_to(folder, target_is_directory=True)
    except OSError as error:
        alias.cleanup()
        raise UserError(
            f"{folder.parent}: holds one of the signs {' '.join(PATTERN)}, below which checkpoints cannot be "
            f"written here ({in_one_line(error)}); choose another name"
        ) from None
    return plain, alias


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without orbax's word to every reader that it only reads."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _reason(error: Exception) -> str:
    """The error in at most a line."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if len(line) <= 160 else f"...{line[-157:]}"  # storage says at the end what it was


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
