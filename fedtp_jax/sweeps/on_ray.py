"""A crew of tasks of a Ray cluster that is there, each with its CPUs and its share of a GPU."""

from collections.abc import Sequence
from typing import Any

from fedtp_jax.core.errors import UserError
from fedtp_jax.sweeps.child import Ended, Work
from fedtp_jax.sweeps.combinations import Combination
from fedtp_jax.sweeps.crew import Crew, Worker, devices_of

ALL = 1_000_000  # tasks at once: Ray keeps them
LEAST = 0.0001  # of a GPU


class Ray(Crew):
    """Tasks that Ray places where there is room.

    Args:
      at_once: how many may run at the same time; None: as many as there is room for.
      cpus, gpus: that a task takes; a fraction of a GPU shares it, and its memory.
    """

    stays, pause = False, 0.5

    def __init__(self, at_once: int | None, cpus: int, gpus: float) -> None:
        try:
            import ray
        except ImportError:
            raise UserError("--on ray: needs Ray; pip install 'fedtp_jax[ray]'") from None
        if (gpus > 1 and gpus != int(gpus)) or 0 < gpus < LEAST:
            raise UserError(f"--gpus: got {gpus}, but Ray gives parts of one, from {LEAST} on, or whole ones")
        if not ray.is_initialized():
            try:
                ray.init(address="auto", log_to_driver=False, logging_level="error")
            except ConnectionError:
                raise UserError(
                    "--on ray: no cluster was found; start one (ray start --head), or name it in RAY_ADDRESS"
                ) from None
            except (RuntimeError, ValueError) as error:
                raise UserError(f"--on ray: {_last_line(error)}") from None
        for name, asked in (("CPU", cpus), ("GPU", gpus)):
            most = max(node["Resources"].get(name, 0) for node in ray.nodes() if node["Alive"])
            if asked > most:
                raise UserError(f"--{name.lower()}s: got {asked}, but no node has more than {most:g}")
        self._at_once, self._gpus = at_once, gpus
        # a task that is lost is taken up again by the sweep, which says so
        self._task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_call)

    def room(self, running: int) -> int:
        return ALL if self._at_once is None else self._at_once - running

    def start(self, combinations: Sequence[Combination]) -> list[Worker]:
        works = [Work(c.folder, devices_of(c), self._gpus) for c in combinations]
        return [_Task(self._task.remote(work)) for work in works]


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _call(work: Work) -> Ended:
    return work()


class _Task:
    def __init__(self, reference: Any) -> None:
        self._reference, self._asked = reference, 0

    def ended(self) -> Ended | None:
        import ray

        if not ray.wait([self._reference], timeout=0)[0]:
            return None
        try:
            return Ended(*ray.get(self._reference))
        except ray.exceptions.RayTaskError as error:  # it is not the worker's fault
            return Ended(1, [f"error: {_last_line(error)}"])
        except ray.exceptions.RayError as error:  # its process, or its machine, is gone
            return Ended(None, [str(error).strip().splitlines()[0]])

    def stop(self) -> None:
        import ray

        self._asked += 1
        ray.cancel(self._reference, force=self._asked > 1)
