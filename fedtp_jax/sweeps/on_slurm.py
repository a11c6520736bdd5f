"""A crew of SLURM jobs, by submitit: arrays, whose jobs go on when the sweep is left."""

import json
import pickle
import shutil
import signal
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError
from fedtp_jax.storage.files import write_atomically
from fedtp_jax.sweeps.board import Board
from fedtp_jax.sweeps.child import Ended, Work
from fedtp_jax.sweeps.combinations import Combination
from fedtp_jax.sweeps.crew import Crew, Worker, devices_of

FOLDER, JOBS = "slurm", "jobs.json"  # in the sweep's folder: submitit's files, and who has which job
ARRAY = 1000  # jobs of one: SLURM's usual limit
REQUEUES = 10_000  # a run may take as many time limits as it needs
NOTICE = 120  # seconds before the time limit in which a round must end
PATIENCE = 12  # looks at a job that SLURM calls completed, or no longer knows, and that has left nothing
SILENCES = 60  # looks in a row at which SLURM may give no answer
OVER = (  # of a job that will do no more
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "REVOKED", "TIMEOUT"),
)


class Slurm(Crew):
    """Jobs of an array, or of several where there are very many.

    Args:
      out: the sweep's folder, which all nodes must see under this name.
      at_once: how many of an array may run at the same time; None: as many as SLURM allows.
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
        for program in ("sbatch", "squeue", "srun"):
            if shutil.which(program) is None:
                raise UserError(
                    f"--on slurm: there is no {program} here; sweep where jobs are submitted, or leave it out"
                )
        if not find_spec("submitit"):
            raise UserError("--on slurm: needs submitit; pip install 'fedtp_jax[slurm]'")
        if gpus != int(gpus):
            raise UserError(
                f"--gpus: got {gpus}, but SLURM gives whole ones; take 1, or share one by --on ray"
            )
        self._folder, self._board, self._gpus = out.absolute() / FOLDER, board, int(gpus)
        self._options: dict[str, Any] = {
            "timeout_min": minutes,
            "cpus_per_task": cpus,
            "slurm_srun_args": [f"--cpus-per-task={cpus}"],  # which srun no longer takes from sbatch
            "slurm_signal_delay_s": NOTICE,
            "slurm_array_parallelism": at_once or ARRAY,
            "slurm_job_name": f"fedtp-{out.name}",
            "slurm_additional_parameters": {"requeue": True, **more},
        }
        if gpus:
            self._options["gpus_per_node"] = self._gpus
        if partition:
            self._options["slurm_partition"] = partition
        self._states: dict[str, str] = {}
        self._silent = 0

    def there(self, combinations: Sequence[Combination]) -> list[tuple[Combination, Worker]]:
        """Those whose jobs were submitted before, and wait or run."""
        known = self._known()
        self._states = {job: state for job, (state, _) in _squeue().items()}
        alive = [c for c in combinations if self.is_alive(known.get(c.name, ""))]
        if alive:
            self._board.say(f"{count_of(len(alive), 'job')} submitted before: {_named(known, alive)}")
        return [(c, _Job(self, known[c.name])) for c in alive]

    def look(self) -> None:
        """Ask SLURM, once for all jobs; what it said last holds while it does not answer."""
        try:
            self._states = {job: state for job, (state, _) in _squeue().items()}
            self._silent = 0
        except UserError as error:
            self._silent += 1
            if self._silent >= SILENCES:
                raise
            if self._silent == 1:
                self._board.say(f"{error}; asked again")

    def room(self, running: int) -> int:
        return ARRAY

    def start(self, combinations: Sequence[Combination]) -> list[Worker]:
        """Submit them. What is about to be submitted is noted first, so that nobody submits it again."""
        known, token = self._known(), uuid.uuid4().hex
        names = [combination.name for combination in combinations]
        stopping = {signal.SIGINT, signal.SIGTERM}  # not between the two notes
        signal.pthread_sigmask(signal.SIG_BLOCK, stopping)
        try:
            self._note({"jobs": known, "token": token, "names": names})
            known |= self._submit(combinations, token)
            self._note({"jobs": known})
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, stopping)
        told = f"submitted {count_of(len(names), 'job')}: {_named(known, combinations)}"
        self._board.say(f"{told}; logs in {self._folder}")
        return [_Job(self, known[name]) for name in names]

    def _known(self) -> dict[str, str]:
        """{combination: its job}, also of those that were submitted when the sweep was killed."""
        try:
            noted = json.loads((self._folder / JOBS).read_text())
            known = dict(noted["jobs"])
        except (OSError, ValueError, LookupError, TypeError):
            return {}
        if token := noted.get("token"):
            for job, (_, comment) in _squeue().items():
                place = int(job.partition("_")[2] or 0) if job.partition("_")[2].isdecimal() else 0
                if comment == token:
                    known[noted["names"][place]] = job
        return known

    def _note(self, noted: Mapping[str, Any]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._folder / JOBS, json.dumps(noted, indent=1) + "\n")
        except OSError as error:
            raise UserError(
                f"{self._folder}: cannot be written ({error.strerror}); free space, then sweep again"
            ) from None

    def _submit(self, combinations: Sequence[Combination], token: str) -> dict[str, str]:
        """{combination: its job}."""
        from submitit import AutoExecutor
        from submitit.core.utils import FailedJobError

        executor = AutoExecutor(self._folder, cluster="slurm", slurm_max_num_timeout=REQUEUES)
        executor.update_parameters(**self._options, slurm_comment=token)
        works = [Work(c.folder, devices_of(c), self._gpus, linger=NOTICE) for c in combinations]
        try:
            with executor.batch():
                jobs = [executor.submit(work) for work in works]
        except (FailedJobError, RuntimeError) as error:
            told = (str(error).strip().splitlines() or ["without a reason"])[-1]
            raise UserError(f"--on slurm: the jobs were refused ({told}); see sbatch's options") from None
        return {c.name: str(job.job_id) for c, job in zip(combinations, jobs, strict=True)}

    def state_of(self, job: str) -> str:
        """As SLURM calls it; "" if it knows the job no longer."""
        return self._states.get(job, "")

    def is_alive(self, job: str) -> bool:
        """Whether it waits or runs."""
        state = self.state_of(job)
        return bool(state) and not state.startswith(OVER)

    def ended(self, job: str) -> Ended | None:
        """How a job has ended, by what it left and by what SLURM says of it."""
        state = self.state_of(job)
        if self.is_alive(job):
            return None
        try:
            outcome, found = pickle.loads((self._folder / f"{job}_0_result.pkl").read_bytes())
        except OSError:
            outcome, found = "nothing", None
        if outcome == "success" and found.code == 0:
            return Ended(*found)
        if state.startswith("CANCELLED"):
            return Ended(1, [f"error: its job {job} was cancelled; sweep again to go on"])
        if state == "OUT_OF_MEMORY":
            return Ended(1, [f"error: its job {job} had too little memory; ask for more: --slurm mem=32G"])
        if outcome == "success":
            return Ended(*found)
        why = str(found).strip().splitlines()[-1] if outcome == "error" else state.lower() or "gone"
        return Ended(None, [f"job {job}: {why}"])


class _Job:
    def __init__(self, crew: Slurm, job: str) -> None:
        self._crew, self._job, self._missed = crew, job, 0

    def ended(self) -> Ended | None:
        """Its last file may be seen here a little after SLURM has said that it is over."""
        found = self._crew.ended(self._job)
        if found is None or found.code is not None:
            self._missed = 0
            return found
        self._missed += 1
        expected = self._crew.state_of(self._job) in ("COMPLETED", "")
        return None if expected and self._missed < PATIENCE else found

    def stop(self) -> None:
        """Jobs go on."""


def _squeue() -> dict[str, tuple[str, str]]:
    """{job: (its state, its comment)} of the user's jobs that SLURM knows, each of an array by itself."""
    asked = ["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%i|%T|%k"]
    try:  # in a session of its own: the terminal's Ctrl-C is not for it
        told = subprocess.run(
            asked, capture_output=True, text=True, check=False, timeout=60, start_new_session=True
        )
    except subprocess.TimeoutExpired:
        raise UserError("--on slurm: squeue does not answer; try again once SLURM does") from None
    if told.returncode:
        raise UserError(f"--on slurm: squeue failed ({told.stderr.strip()}); try again once SLURM answers")
    lines = [line.split("|", 2) for line in told.stdout.splitlines() if line.count("|") >= 2]
    return {job: (state, comment) for job, state, comment in lines}


def _named(jobs: Mapping[str, str], combinations: Sequence[Combination]) -> str:
    names = [jobs[c.name] for c in combinations]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
