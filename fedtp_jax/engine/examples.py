"""The data set on every device, and how a local step picks its examples from it."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DeviceExamples:
    """Examples resident on every device: x [M, values] as stored but flat, each of `shape`; y [M], or [M, C].

    Flat, since a TPU pads an array's last axes: images with channels last would be copied to several times
    their size.
    """

    x: jax.Array
    y: jax.Array
    mean: jax.Array
    std: jax.Array
    shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @property
    def labels(self) -> int:
        """How many labels an example has: 1, or C."""
        return int(self.y.shape[1]) if self.y.ndim == 2 else 1

    def pick(self, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(inputs, labels) of the examples at `positions` [L, B]; normalised here."""
        x = self.x[positions].reshape(*positions.shape, *self.shape)
        return normalize(x, self.mean, self.std), self.y[positions]


class DeviceWindows(NamedTuple):
    """Windows of a text resident on every device: text [length] codes or ids, start [M], offsets 0 to T."""

    text: jax.Array
    start: jax.Array
    offsets: jax.Array

    @property
    def labels(self) -> int:
        """How many labels a window has: T."""
        return len(self.offsets) - 1

    def pick(self, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(codes, next codes), both [L, B, T], of the windows at `positions` [L, B]."""
        codes = self.text[self.start[positions][..., None] + self.offsets].astype(jnp.int32)
        return codes[..., :-1], codes[..., 1:]


def normalize(x: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
    """Inputs as the model takes them: uint8 to [0, 1], then (x - mean) / std on the last axis; ids stay."""
    if x.dtype == jnp.int32:
        return x
    if x.dtype == jnp.uint8:
        x = x.astype(jnp.float32) / 255.0
    return (x - mean) / std
