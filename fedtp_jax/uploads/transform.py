"""A step of the way from a client to the server."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedtp_jax.core.tree import Leaves


class Message(NamedTuple):
    """How many bits an upload takes: `values` of `bits` each, and `beside` them what is needed to read it."""

    values: int
    bits: float = 32
    beside: float = 0

    @property
    def num_bytes(self) -> int:
        """Whole bytes."""
        return -int(-(self.values * self.bits + self.beside) // 8)


class Transform(NamedTuple):
    """A step, of one client's change {path: [...]} of all that it uploads.

    Attributes:
      apply: (change, key of the client in this round) -> what is sent of it.
      cost: (message before, sizes of the leaves) -> message.
      error_feedback: whether what was not sent is added to the client's next change.
    """

    apply: Callable[[Leaves, jax.Array], Leaves]
    cost: Callable[[Message, list[int]], Message] = lambda message, sizes: message
    error_feedback: bool = False


def joined(change: Leaves) -> jax.Array:
    """All entries [n], leaf after leaf."""
    return jnp.concatenate([leaf.reshape(-1) for _, leaf in sorted(change.items())])


def parted(entries: Any, like: Mapping[str, Any]) -> Leaves:
    """The inverse of `joined`."""
    found, first = {}, 0
    for path, leaf in sorted(like.items()):
        found[path] = entries[first : first + leaf.size].reshape(leaf.shape)
        first += leaf.size
    return found


def norm_of(change: Leaves) -> jax.Array:
    """2-norm of all entries together."""
    return jnp.sqrt(sum((jnp.sum(leaf**2) for leaf in change.values()), jnp.zeros(())))
