"""The runs at or below a folder at one moment: one run's, some seeds', a sweep's, or any folder of such."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fedtp_jax.core.errors import UserError, in_one_line
from fedtp_jax.runs.watched import State, Watched, Watcher
from fedtp_jax.storage.locks import HELD, at_work
from fedtp_jax.storage.run_folder import RunFolder, SeedsFolder, in_order, read_order


class WatchedRuns(NamedTuple):
    """The runs of a folder at one moment, in its order.

    Attributes:
      folder: that is watched.
      runs: at least one; a combination of a sweep that has not begun is one of them.
      select: the figure of validation shards by which a sweep chooses, None where it does not.
      above: whether a process is at work on the folder as a whole; None where that cannot be seen from here.
    """

    folder: Path
    runs: list[Watched]
    select: str | None
    above: bool | None

    @property
    def single(self) -> bool:
        """Whether the folder is that of one run."""
        return self.runs[0].folder == self.folder

    @property
    def counts(self) -> Counter[State]:
        """How many runs there are of each state."""
        return Counter(run.state for run in self.runs)

    @property
    def finished(self) -> bool:
        """Whether all runs have come to their end."""
        return self.counts["finished"] == len(self.runs)

    @property
    def goes_on(self) -> bool:
        """Whether a process is at work on it, as far as is known."""
        if self.counts["running"]:
            return True
        return not self.finished and (self.counts["unknown"] > 0 or self.above is not False)

    @property
    def column(self) -> str:
        """The column of metrics.csv that says how a run does: what the sweep chooses by, or the headline.

        Who chooses by validation shards shall not see how test shards would choose.
        """
        measured = [run.headline for run in self.runs if len(run.history)]
        return self.select or f"test_{(measured or ['accuracy'])[0]}"

    @property
    def left(self) -> float:
        """Seconds until the last round of all, if it goes on like this; NaN where nobody knows."""
        known = [run.seconds for run in self.runs if not math.isnan(run.seconds)]
        planned = max(run.planned for run in self.runs)
        if not known or not self.counts["running"]:
            return math.nan
        mean = sum(known) / len(known)
        left = (
            _left(run, planned, mean) for run in self.runs if run.state in ("running", "waiting", "unknown")
        )
        return sum(left) / self.counts["running"]


def _left(run: Watched, planned: int, mean: float) -> float:
    """Seconds that a run has to go, by the other runs' where it has not begun."""
    seconds = mean if math.isnan(run.seconds) else run.seconds
    return max((run.planned or planned) - run.done, 0) * seconds


def look_at(folder: Path, watcher: Watcher) -> WatchedRuns:
    """The runs at or below `folder`; UserError where there are none."""
    if not folder.is_dir():
        raise UserError(
            f"{folder}: there is no such folder; give that of a run, of some seeds or a sweep that is begun"
        )
    # of a combination the sweep's, of a seed the combination's too
    held = [at_work(whole) for whole in (folder, *folder.resolve().parents[:2])]
    above = True if True in held else None if None in held else False
    try:
        runs = [watcher.look(path, above) for path in _runs(folder)]
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: cannot be read ({in_one_line(error)}); see who may read it"
        ) from None
    if not runs:
        raise UserError(
            f"{folder}: holds no run (no config.yaml in it or below it); give the folder of a run, of some "
            "seeds or a sweep"
        )
    return WatchedRuns(folder, runs, read_order(folder).select, above)


def _runs(path: Path, seeds: Sequence[int] = ()) -> list[Path]:
    """Folders of runs at or below `path`, and those that will be; `seeds`: of each combination of a sweep."""
    if RunFolder(path).config.is_file():
        return [path]
    if (noted := SeedsFolder(path).read()) or not path.exists():
        begun = [int(seed) for run in path.glob("seed-*") if (seed := run.name[5:]).isdecimal()]
        asked = dict.fromkeys([*seeds, *sorted(begun), *(noted[1] if noted else [])])
        return [SeedsFolder(path).run(seed) for seed in asked] or [path]
    order = read_order(path)
    inner = {one.name for one in path.iterdir() if one.is_dir()} | {*order.combinations}
    found = [run for name in in_order(path, [*inner]) for run in _runs(path / name, order.seeds)]
    return found or [path] * (path / HELD).is_file()  # a process is making it a run's
