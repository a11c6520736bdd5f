"""JAX's global switches: ours while the simulator is at work, the user's in what they hand over."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import jax

from fedtp_jax.core import hosts

P = ParamSpec("P")
T = TypeVar("T")


@contextlib.contextmanager
def settings(x64: bool, rank_promotion: str) -> Iterator[None]:
    """In this thread, until the block ends."""
    with jax.enable_x64(x64), jax.numpy_rank_promotion(rank_promotion):
        yield


def in_our_settings() -> contextlib.AbstractContextManager[None]:
    """Numbers of 32 bits, and ranks that are promoted: every result is that of a JAX as it comes.

    If nobody has used JAX yet, a CPU is a device for each core from here on.
    """
    hosts.split_cpu()
    return settings(False, "allow")


def under_our_settings(function: Callable[P, T]) -> Callable[P, T]:
    """`function`, at work in our settings whatever the caller has switched."""

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        with in_our_settings():
            return function(*args, **kwargs)

    return inner


def under_present_settings(function: Callable[P, T]) -> Callable[P, T]:
    """`function`, called in the settings that hold here and now."""
    x64, rank_promotion = jax.config.jax_enable_x64, jax.config.jax_numpy_rank_promotion  # type: ignore[attr-defined]

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        with settings(x64, rank_promotion):
            return function(*args, **kwargs)

    return inner
