"""TensorBoard: every number of the history as a scalar."""

import atexit
import warnings
from pathlib import Path
from typing import Any

from fedtp_jax.core.errors import UserError, user_path
from fedtp_jax.runs.progress import Progress


class TensorBoard:
    """Writes every number of the history as a scalar, by its name there, at its round.

    Args:
      folder: for TensorBoard's event files, such as "runs/quickstart/tensorboard".

    Raises UserError when tensorboardX is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ModuleNotFoundError:
            raise UserError(
                "tensorboard: needs tensorboardX; install it with pip install 'fedtp_jax[tensorboard]'"
            ) from None
        self._folder, self._writer_of = user_path(folder), SummaryWriter
        self._writers: dict[int, Any] = {}
        self._broken = False
        atexit.register(self.close)  # tensorboardX loses what its thread has not written by then

    def __call__(self, progress: Progress) -> None:
        """Write the scalars of a finished round; where that fails it warns, and writes no more."""
        if not self._broken:
            try:
                self._write(progress)
            except OSError as error:
                self._broken = True
                why = f"{self._folder}: cannot be written ({error.strerror})"
                warnings.warn(f"{why}; the run goes on without TensorBoard", stacklevel=2)

    def close(self) -> None:
        """Write what is still waiting; done by itself after the last round and at the interpreter's exit."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _write(self, progress: Progress) -> None:
        writer = self._writer(progress)
        for name, value in progress.row.items():
            if isinstance(value, int | float) and name != "round":
                writer.add_scalar(name, value, progress.round)
        writer.add_scalar("seconds", progress.seconds, progress.round)
        if progress.round == progress.rounds:
            self.close()
        elif progress.evaluated:
            writer.flush()

    def _writer(self, progress: Progress) -> Any:
        """A writer for each seed; what a stopped run wrote after its checkpoint is dropped."""
        seed = progress.seed
        if seed not in self._writers:
            folder = str(self._folder / f"seed-{seed}")
            self._writers[seed] = self._writer_of(folder, purge_step=progress.round)
        return self._writers[seed]
