"""Compiled programs: each function compiled once per shapes, ahead of its first call, and counted."""

import time
from collections.abc import Callable
from typing import Any

import jax


class Programs:
    """The compiled programs of one simulation.

    Attributes:
      count: how many were compiled.
      seconds: how long that took.
    """

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self._compiled: dict[Any, Any] = {}

    def __call__(
        self, name: str, function: Callable[..., Any], *args: Any, donate: tuple[int, ...] = ()
    ) -> Any:
        """`function(*args)`, compiled under `name`; the arguments numbered in `donate` are consumed."""
        return self._compile(name, function, args, donate)(*args)

    def num_bytes(
        self, name: str, function: Callable[..., Any], *args: Any, donate: tuple[int, ...] = ()
    ) -> int:
        """Bytes that the compiled program takes on each device; `args` may be ShapeDtypeStructs."""
        use = self._compile(name, function, args, donate).memory_analysis()
        total = use.argument_size_in_bytes + use.output_size_in_bytes + use.temp_size_in_bytes
        return int(total - use.alias_size_in_bytes)

    def _compile(
        self, name: str, function: Callable[..., Any], args: tuple[Any, ...], donate: tuple[int, ...]
    ) -> Any:
        shapes = jax.tree.map(lambda x: (x.shape, str(x.dtype)), args)
        key = (name, jax.tree.structure(shapes), tuple(jax.tree.leaves(shapes)))
        if key not in self._compiled:
            begin = time.perf_counter()
            self._compiled[key] = jax.jit(function, donate_argnums=donate).lower(*args).compile()
            self.seconds += time.perf_counter() - begin
            self.count += 1
        return self._compiled[key]
