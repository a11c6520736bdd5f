"""A crew of SLURM jobs, by submitit: one array, whose jobs go on when the sweep is left."""

import json
import pickle
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError
from fedtp_jax.sweeps.board import Board
from fedtp_jax.sweeps.child import Ended, Work
from fedtp_jax.sweeps.combinations import Combination
from fedtp_jax.sweeps.crew import Worker, devices_of

FOLDER, JOBS = "slurm", "jobs.json"  # in the sweep's folder: submitit's files, and {combination: job}
REQUEUES = 10_000  # a run may take as many time limits as it needs
ALL = 1_000_000  # combinations at once: SLURM keeps them
PATIENCE = 3  # looks at a job that is over and has left nothing
NOTICE = 120  # seconds before the time limit in which a round must end
ALIVE = {
    "PENDING",
    "RUNNING",
    "REQUEUED",
    "CONFIGURING",
    "COMPLETING",
    "SUSPENDED",
    "REQUEUE_HOLD",
    "RESIZING",
}
INTERRUPTED = (130, 143)  # exit codes of a run that was told to stop


class Slurm:
    """Jobs of one array.

    Args:
      out: the sweep's folder, which all nodes must see under this name.
      at_once: how many may run at the same time; None: as many as SLURM allows.
      cpus, gpus: of a job. minutes: its time limit, after which it is queued again and goes on.
      partition: of the cluster; None: its default.
      more: further options of sbatch, such as {"account": "lab"}.
    """

    stays, pause = True, 5.0

    def __init__(
        self,
        out: Path,
        board: Board,
        at_once: int | None,
        cpus: int,
        gpus: float,
        minutes: int,
        partition: str | None,
        more: Mapping[str, str],
    ) -> None:
        if shutil.which("sbatch") is None:
            raise UserError(
                "--on slurm: there is no sbatch here; sweep where jobs are submitted, or leave it out"
            )
        if gpus != int(gpus):
            raise UserError(
                f"--gpus: got {gpus}, but SLURM gives whole ones; give 1, or share one with --on ray"
            )
        self._out, self._board, self._gpus = out.absolute(), board, int(gpus)
        self._options: dict[str, Any] = {
            "timeout_min": minutes,
            "cpus_per_task": cpus,
            "slurm_signal_delay_s": NOTICE,
            "slurm_array_parallelism": at_once or ALL,
            "slurm_job_name": f"fedtp-{out.name}",
            "slurm_additional_parameters": {"requeue": True, **more},
        }
        if gpus:
            self._options["gpus_per_node"] = self._gpus
        if partition:
            self._options["slurm_partition"] = partition
        self._states: dict[str, str] = {}

    def look(self) -> None:
        """Ask SLURM, once for all jobs."""
        self._states = _states()

    def room(self, running: int) -> int:
        return ALL

    def start(self, combinations: Sequence[Combination]) -> list[Worker]:
        """Those whose jobs are there from an earlier time are waited for, the others submitted."""
        known = self._noted()
        states = _states()
        alive = [c for c in combinations if states.get(known.get(c.name, "")) in ALIVE]
        new = [c for c in combinations if c not in alive]
        known |= self._submit(new)
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / JOBS).write_text(json.dumps(known, indent=1))
        if alive:
            self._board.say(f"{count_of(len(alive), 'job')} submitted before: {_named(known, alive)}")
        if new:
            self._board.say(
                f"submitted {count_of(len(new), 'job')}: {_named(known, new)}; logs in {self._folder}"
            )
        return [_Job(self, known[combination.name]) for combination in combinations]

    @property
    def _folder(self) -> Path:
        return self._out / FOLDER

    def _noted(self) -> dict[str, str]:
        try:
            return dict(json.loads((self._folder / JOBS).read_text()))
        except (OSError, ValueError):
            return {}

    def _submit(self, combinations: Sequence[Combination]) -> dict[str, str]:
        """{combination: its job}."""
        from submitit import AutoExecutor
        from submitit.core.utils import FailedJobError

        executor = AutoExecutor(self._folder, cluster="slurm", slurm_max_num_timeout=REQUEUES)
        executor.update_parameters(**self._options)
        works = [Work(c.folder, devices_of(c), self._gpus) for c in combinations]
        try:
            with executor.batch():
                jobs = [executor.submit(work) for work in works]
        except FailedJobError as error:
            told = str(error).strip().splitlines()[-1]
            raise UserError(f"--on slurm: sbatch refused the jobs ({told}); see its options") from None
        return {c.name: str(job.job_id) for c, job in zip(combinations, jobs, strict=True)}

    def ended(self, job: str) -> Ended | None:
        """How a job has ended, by what it left and by what SLURM says of it."""
        state = self._states.get(job, "")
        if state in ALIVE:
            return None
        try:
            outcome, found = pickle.loads((self._folder / f"{job}_0_result.pkl").read_bytes())
        except OSError:
            outcome, found = "nothing", None
        if outcome == "success" and found.code not in INTERRUPTED:
            return Ended(*found)
        if state.startswith("CANCELLED"):
            return Ended(1, [f"error: its job {job} was cancelled; sweep again to go on"])
        if state == "OUT_OF_MEMORY":
            return Ended(
                1, [f"error: its job {job} ran out of memory; ask for more, such as --slurm mem=32G"]
            )
        why = str(found).strip().splitlines()[-1] if outcome == "error" else state.lower() or "gone"
        return Ended(None, [f"job {job}: {why}"])


class _Job:
    def __init__(self, crew: Slurm, job: str) -> None:
        self._crew, self._job, self._missed = crew, job, 0

    def ended(self) -> Ended | None:
        """Its last file may be seen here a little after SLURM has said that it is over."""
        found = self._crew.ended(self._job)
        self._missed += found is not None and found.code is None
        return None if 0 < self._missed < PATIENCE else found

    def stop(self) -> None:
        """Jobs go on."""


def _states() -> dict[str, str]:
    """{job: its state} of the user's jobs that SLURM still knows, each job of an array by itself."""
    asked = ["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%i %T"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)
    if told.returncode:
        raise UserError(f"--on slurm: squeue failed ({told.stderr.strip()}); try again once SLURM answers")
    return {job: state for job, _, state in (line.partition(" ") for line in told.stdout.splitlines())}


def _named(jobs: Mapping[str, str], combinations: Sequence[Combination]) -> str:
    names = [jobs[c.name] for c in combinations]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
