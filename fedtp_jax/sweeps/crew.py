"""Who works on a sweep's combinations, several at once: processes here, jobs of SLURM, tasks of Ray."""

import abc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import StorageError
from fedtp_jax.runs.display import Stop
from fedtp_jax.storage.run_folder import RunFolder
from fedtp_jax.sweeps.board import Board
from fedtp_jax.sweeps.child import Ended
from fedtp_jax.sweeps.combinations import Combination

ATTEMPTS = 5  # to do a combination whose workers are lost, one after the other without a further round


class Worker(Protocol):
    """At work on one combination."""

    def ended(self) -> Ended | None:
        """None while it is at work, or waits for its turn."""

    def stop(self) -> None:
        """Ask it to end after its round; asked once more it ends at once."""


class Crew(abc.ABC):
    """Where combinations are worked on.

    stays: whether workers go on when the sweep is left.
    pause: seconds between two looks at them.
    """

    stays: bool
    pause: float

    def there(self, combinations: Sequence[Combination]) -> list[tuple[Combination, Worker]]:
        """Those that are worked on already, from an earlier time."""
        return []

    def look(self) -> None:  # noqa: B027 (most have nothing to do)
        """Once before workers are asked how they are."""

    @abc.abstractmethod
    def room(self, running: int) -> int:
        """How many more may be started."""

    @abc.abstractmethod
    def start(self, combinations: Sequence[Combination]) -> list[Worker]:
        """A worker for each."""


class _Watched:
    """A combination at work."""

    def __init__(self, combination: Combination, worker: Worker) -> None:
        self.combination, self.worker = combination, worker
        self._left, self._told = combination.left, 0

    def look(self, board: Board, asked: int) -> Ended | None:
        """Pass on that it shall stop, tell of finished runs; how it has ended."""
        while self._told < min(asked, 2):
            self._told += 1
            self.worker.stop()
        ended = self.worker.ended()  # before the look at the files: what it wrote last is seen too
        for seed in self._left:
            if self.combination.is_done(seed):
                board.finished(self.combination, seed)
        self._left = self.combination.left
        return ended


def run_by(crew: Crew, combinations: Sequence[Combination], board: Board) -> None:
    """Have the crew run what is not finished. KeyboardInterrupt when a signal has ended it.

    What a lost worker had is done by another one, from its last checkpoint.
    """
    left = [combination for combination in combinations if combination.left]
    running = [_Watched(*pair) for pair in crew.there(left)]
    known = {watched.combination.name for watched in running}
    waiting = [combination for combination in left if combination.name not in known]
    losses = _Losses(board)

    def say(asked: int) -> None:
        if asked == 1:
            going = "leaving, the jobs go on"
            board.say(
                going if crew.stays else "stopping each run after its round; once more to leave at once"
            )

    with Stop(say) as stop:
        try:
            while running or (waiting and not stop.asked):
                if not stop.asked and waiting and (room := crew.room(len(running))):
                    running += _started(crew, waiting[:room], board)
                    waiting = waiting[room:]
                crew.look()
                for watched in [*running]:
                    ended = watched.look(board, 0 if crew.stays else stop.asked)
                    if ended is None:
                        continue
                    running.remove(watched)
                    if stop.asked:
                        continue
                    if losses.is_one(watched.combination, ended):
                        waiting.append(watched.combination)
                    elif ended.code is not None:
                        _tell(watched.combination, ended, board)
                if stop.asked and crew.stays:
                    break
                time.sleep(crew.pause)
        finally:
            for watched in [] if crew.stays else running:
                watched.worker.stop()
    if stop.asked:
        raise KeyboardInterrupt


def _started(crew: Crew, combinations: Sequence[Combination], board: Board) -> list[_Watched]:
    begun = []
    for combination in combinations:
        try:
            combination.begin()
            begun.append(combination)
        except StorageError as error:  # it must not end the others
            board.fail(combination, str(error))
    return [_Watched(*pair) for pair in zip(begun, crew.start(begun) if begun else [], strict=True)]


class _Losses:
    """Workers that ended before their work did; who loses all without a further round has failed."""

    def __init__(self, board: Board) -> None:
        self._board, self._since = board, dict[str, tuple[int, int]]()

    def is_one(self, combination: Combination, ended: Ended) -> bool:
        """Whether another worker must go on with it."""
        if ended.code or not combination.left:
            return False
        missing = count_of(len(combination.left), "run is", "runs are")
        why = ended.lines[-1] if ended.lines and ended.code is None else f"{missing} not finished"
        written, times = self._since.get(combination.name, (-1, 0))
        now = sum(_size(combination.run(seed)) for seed in combination.seeds)
        times = times + 1 if now == written else 1
        self._since[combination.name] = now, times
        if times < ATTEMPTS:
            self._board.say(f"{combination.name}: {why}; taken up again")
            return True
        self._board.fail(combination, f"{why}, {ATTEMPTS} times without a further round")
        return False


def _size(run: Path) -> int:
    """Of what it has written of its rounds."""
    table = RunFolder(run).metrics.path
    return table.stat().st_size if table.is_file() else 0


def _tell(combination: Combination, ended: Ended, board: Board) -> None:
    """Why it has failed, or what it has said beside its results."""
    if ended.code:
        board.fail(combination, _reason(ended.code, ended.lines))
        return
    for line in ended.lines:
        board.pass_on(combination, line)


def _reason(code: int, lines: Sequence[str]) -> str:
    """Why a child has failed, by its exit code and its standard error."""
    if code < 0 or not lines:
        return f"ended by signal {-code}" if code < 0 else f"exit code {code}"
    told = [line for line in lines if line.startswith(("error: ", "failed: "))]
    return told[-1].partition(": ")[2] if told else lines[-1]


def devices_of(combination: Combination) -> int:
    """Devices that its configuration asks for, at least."""
    devices = combination.config.engine.devices
    return 1 if devices == "auto" else devices
