"""Several processes that run one program: what the first alone does, and what all of them must agree on.

Every process runs the same host program on the same data, and the devices of all of them are one mesh. The
clients' rows lie whole on every process's host. A run's folder and the terminal belong to the first process.
With one process all of this costs nothing.
"""

import contextlib
import os
import pickle
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from fedtp_jax.core.errors import UserError

T = TypeVar("T")
_split = [-1]  # what `split_cpu` has asked for, which it may ask anew
PIECE = 2**22  # bytes that are sent at once: one shape, so one program, for anything


def count() -> int:
    """How many processes there are: 1 unless `jax.distributed` was initialized."""
    return jax.process_count() if _initialized() else 1


def index() -> int:
    """Number of this process, 0 for the first."""
    return jax.process_index() if _initialized() else 0


def is_first() -> bool:
    return index() == 0


def together(make: Callable[[], T]) -> T:
    """`make()` on every process; where one raises, those that would go on raise the same."""
    if count() == 1:
        return make()
    error: BaseException | None = None
    try:
        value = make()
    except BaseException as raised:  # an interrupt too: the others would wait for ever
        error = raised
    told = b"" if error is None else pickle.dumps(_for_others(error))
    sizes = gather(np.int32(len(told)))
    if sizes.any():
        messages = gather(np.frombuffer(told.ljust(sizes.max(), b"\0"), np.uint8))
        raise error or pickle.loads(messages[np.flatnonzero(sizes)[0]].tobytes())
    return value


def on_first(make: Callable[[], T]) -> T | None:
    """`make()` on the first process, None on the others; what it raises is raised on all."""
    return together(lambda: make() if is_first() else None)


def from_first(make: Callable[[], T]) -> T:
    """The first process's `make()`, which it alone calls, on all of them; so is what it raises."""
    if count() == 1:
        return make()
    value: Any = on_first(make)
    content = np.frombuffer(pickle.dumps(value), np.uint8)  # of the others nothing is sent
    pieces = multihost_utils.broadcast_one_to_all(np.int32(-(-len(content) // PIECE)))
    padded = np.zeros((pieces, PIECE), np.uint8)  # pickle knows where it ends
    if is_first():
        padded.reshape(-1)[: len(content)] = content
    for n, piece in enumerate(padded):
        padded[n] = multihost_utils.broadcast_one_to_all(piece)
    return value if is_first() else pickle.loads(padded.data)


def check_same(what: str, value: Any) -> None:
    """Raise UserError on all processes unless `value` prints the same on each of them."""
    sums = gather(np.uint32(zlib.crc32(repr(value).encode())))
    if (sums != sums[0]).any():
        other = np.flatnonzero(sums != sums[0])[0]
        raise UserError(f"{what}: process {other} has another than process 0; give all of them the same")


def gather(numbers: Any) -> np.ndarray:
    """[processes, ...] what each process gives, of at most 32 bits."""
    if count() == 1:
        return np.asarray(numbers)[None]
    return np.asarray(multihost_utils.process_allgather(numbers))


def cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_is_chosen() -> bool:
    """Whether somebody has said, in time, how many devices the CPU is: the user or `split_cpu`."""
    flag = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    return flag or _cpu_devices() >= 0


def split_cpu(devices: int = 1) -> None:
    """Ask XLA for one CPU device per core, `devices` at least, unless the user has said how many.

    Lanes on separate devices share no locks, one device's cores share every operation.
    """
    wanted, ours = max(cores(), devices), _cpu_devices() == _split[-1] >= 0
    if wanted <= _split[-1] or (cpu_is_chosen() and not ours):
        return
    with contextlib.suppress(RuntimeError):  # the backend runs already: take what it has
        jax.config.update("jax_num_cpu_devices", wanted)
        _split.append(wanted)


def _cpu_devices() -> int:
    return int(jax.config.jax_num_cpu_devices)  # type: ignore[attr-defined]


def check_devices() -> None:
    """Raise UserError unless all processes take part, with as many devices each."""
    devices = Counter(device.process_index for device in jax.devices())
    if len(devices) != count():
        raise UserError(
            f"jax: sees {len(devices)} processes that were not told of each other; run with --distributed, "
            "or in Python call jax.distributed.initialize() first"
        )
    if len(set(devices.values())) > 1:
        each = ", ".join(str(devices[process]) for process in sorted(devices))
        raise UserError(
            f"jax: the processes have {each} devices; give all as many (on CPU set JAX_NUM_CPU_DEVICES)"
        )


def _initialized() -> bool:
    """Whether there may be other processes; then the backend starts, with the devices that it should have."""
    if not jax.distributed.is_initialized():
        return False
    split_cpu()
    return True


def _for_others(error: BaseException) -> BaseException:
    """What other processes raise for `error`: anything that may not survive the way is told as text."""
    if isinstance(error, UserError | FloatingPointError | KeyboardInterrupt):
        return error
    return RuntimeError(f"process {index()}: {error!r}")
