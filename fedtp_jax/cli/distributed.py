"""How a command joins the other processes of its run: by its flags, or by what JAX finds around it."""

import dataclasses
import os
import sys
import threading
from typing import Annotated

from tyro.conf import arg

from fedtp_jax.core.errors import UserError

TIMEOUT = 120  # seconds in which all processes must have come
ENVIRONMENTS = "SLURM, Open MPI, Kubernetes or Cloud TPU"


@dataclasses.dataclass(frozen=True)
class DistributedFlags:
    """The flags that tell a process of the others."""

    distributed: Annotated[
        bool, arg(help=f"one of several processes, told by {ENVIRONMENTS} how many and which")
    ] = False
    coordinator: Annotated[
        str | None, arg(metavar="HOST:PORT", help="process 0's host, and a port that is free there")
    ] = None
    processes: Annotated[int | None, arg(metavar="P", help="how many processes there are")] = None
    process_id: Annotated[int | None, arg(metavar="I", help="number of this one, 0 to P - 1")] = None


ALONE = DistributedFlags()


def join(flags: DistributedFlags) -> None:
    """Meet the other processes, if there are any; UserError for flags that do not say where."""
    import jax

    from fedtp_jax.core import hosts

    told = {
        "--coordinator": flags.coordinator,
        "--processes": flags.processes,
        "--process-id": flags.process_id,
    }
    missing = [flag for flag, value in told.items() if value is None]
    if len(missing) == len(told) and not flags.distributed:
        return
    if missing and len(missing) < len(told):
        raise UserError(
            f"{missing[0]}: is missing; give all of {', '.join(told)}, or --distributed alone "
            f"where {ENVIRONMENTS} tells"
        )
    _check(flags)
    _keep_stdout()
    watch = threading.Timer(TIMEOUT, _give_up)
    watch.daemon = True
    watch.start()
    try:
        jax.distributed.initialize(
            flags.coordinator, flags.processes, flags.process_id, initialization_timeout=2 * TIMEOUT
        )
    except ValueError:
        raise UserError(
            f"--distributed: found no trace of {ENVIRONMENTS}; give {', '.join(told)} in its place"
        ) from None
    except RuntimeError as error:
        raise UserError(f"--distributed: JAX cannot start ({error}); is the port free?") from None
    finally:
        watch.cancel()
    hosts.split_cpu()
    hosts.check_devices()


def _check(flags: DistributedFlags) -> None:
    coordinator, processes, process_id = flags.coordinator, flags.processes, flags.process_id
    if coordinator is None or processes is None or process_id is None:
        return
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(
            f"--coordinator: got {coordinator!r}, expected a host and a port, such as 10.0.0.1:1234"
        )
    if processes < 1:
        raise UserError(f"--processes: got {processes}, expected a whole number of at least 1")
    if not 0 <= process_id < processes:
        raise UserError(f"--process-id: got {process_id}, expected 0 to {processes - 1}")


def _give_up() -> None:
    """End the process: a little later XLA would do so itself, with its stack in place of a message."""
    print(
        f"error: --distributed: the processes did not meet in {TIMEOUT} s; start all of them, "
        "and see that they can reach the coordinator's port",
        file=sys.stderr,
        flush=True,
    )
    os._exit(2)


def _keep_stdout() -> None:
    """Standard output for Python alone: gloo, which sums on CPU, would tell it who met whom."""
    own = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout = os.fdopen(own, "w", encoding=sys.stdout.encoding)
