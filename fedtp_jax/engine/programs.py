"""Compiled programs: each function compiled once per shapes, ahead of its first call, and counted."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import jax

from fedtp_jax.core.errors import UserError, in_one_line
from fedtp_jax.engine.compilation_cache import share_programs
from fedtp_jax.engine.meeting import Meeting, Simulation, program_key

# XLA's options on a CPU. LLVM prefers code for 256 bits where 512 can be had; its last level takes long, and
# makes these programs no faster.
ON_CPU = {"xla_cpu_prefer_vector_width": 512, "xla_backend_optimization_level": 2}
LESS = "use fewer engine.lanes, a smaller engine.wave_size, or a smaller training.batch_size"


class DoesNotFit(UserError):
    """The compiler says that a program takes more memory than a device has; TPUs' compilers do."""


class Programs:
    """The compiled programs of one simulation.

    XLA compiles on threads, one program on each: Python is free meanwhile, and programs that are known in
    advance compile beside each other.

    Args:
      options: XLA's; by default those for JAX's default devices.

    Attributes:
      count: how many were compiled.
      seconds: how long Python traced them or waited for them.
    """

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self._options = default_options() if options is None else options
        self.count = 0
        self.seconds = 0.0
        self._compiled: dict[Any, Future[Any]] = {}
        self._shared = 0  # how many of them other processes may read
        self._pool = ThreadPoolExecutor(os.cpu_count(), "fedtp-compile")
        self._meeting: Meeting | None = None

    def __call__(
        self, name: str, function: Callable[..., Any], *args: Any, donate: tuple[int, ...] = ()
    ) -> Any:
        """`function(*args)`, compiled under `name`; the arguments numbered in `donate` are consumed."""
        if self._meeting:
            return self._meeting.call(name, function, args, donate)
        return self.alone(name, function, *args, donate=donate)

    @contextmanager
    def side_by_side(self, simulations: Sequence[Simulation], common: Any) -> Iterator[Meeting]:
        """Inside it calls come from the threads of these simulations: see `Meeting`."""
        self._meeting = Meeting(self.alone, simulations, common)
        try:
            yield self._meeting
        finally:
            self._meeting = None

    def alone(self, name: str, function: Callable[..., Any], *args: Any, donate: tuple[int, ...] = ()) -> Any:
        """As a call, of one simulation, whoever else is there."""
        return self._finish(self.start(name, function, *args, donate=donate))(*args)

    def jaxpr(self, name: str, function: Callable[..., Any], *args: Any, donate: tuple[int, ...] = ()) -> Any:
        """The program as it is traced, before XLA; `args` may be ShapeDtypeStructs."""
        return jax.jit(function, donate_argnums=donate).trace(*args).jaxpr

    def num_bytes(
        self, name: str, function: Callable[..., Any], *args: Any, donate: tuple[int, ...] = ()
    ) -> int:
        """Bytes that the compiled program takes on each device; `args` may be ShapeDtypeStructs."""
        return program_bytes(self._finish(self.start(name, function, *args, donate=donate)))

    def start(
        self, name: str, function: Callable[..., Any], *args: Any, donate: tuple[int, ...] = ()
    ) -> Future[Any]:
        """Trace the program and go on while it compiles; `args` may be ShapeDtypeStructs.

        The result raises DoesNotFit where the compiler finds that it does not.
        """
        key = program_key(name, args)
        if key not in self._compiled:
            begin = time.perf_counter()
            self._compiled[key] = self._compile(name, jax.jit(function, donate_argnums=donate).trace(*args))
            self.seconds += time.perf_counter() - begin
            self.count += 1
        return self._compiled[key]

    def _compile(self, name: str, traced: Any) -> Future[Any]:
        """Lower the traced program here, and compile it on a thread."""
        return self._pool.submit(compile_lowered, name, traced.lower(), self._options)

    def _finish(self, program: Future[Any]) -> Any:
        if not program.done():
            begin = time.perf_counter()
            program.exception()  # waits
            self.seconds += time.perf_counter() - begin
        # whoever comes first after the last of them, which nobody may have had to wait for
        if self._shared < self.count and all(other.done() for other in self._compiled.values()):
            self._shared = self.count
            share_programs()
        return program.result()


def default_options() -> dict[str, Any]:
    """XLA's options for programs on JAX's default devices; what the user's XLA_FLAGS set stays so."""
    if jax.default_backend() != "cpu":
        return {}
    flags = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in ON_CPU.items() if name not in flags}


def compile_lowered(name: str, lowered: Any, options: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """The compiled program; raises DoesNotFit where the compiler finds that it does not. `options`: XLA's."""
    try:
        return lowered.compile(dict(options))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise DoesNotFit(
            f"memory: the program {name!r} takes more than a device has ({in_one_line(error)}); {LESS}"
        ) from None


def program_bytes(compiled: Any) -> int:
    """Bytes that a compiled program takes on each device: arguments, results, between them, and its code."""
    use = compiled.memory_analysis()
    arrays = use.argument_size_in_bytes + use.output_size_in_bytes + use.temp_size_in_bytes
    # On an accelerator the code lies in the same memory: a TPU's train program has tens of MiB of it.
    return int(arrays - use.alias_size_in_bytes + use.generated_code_size_in_bytes)
