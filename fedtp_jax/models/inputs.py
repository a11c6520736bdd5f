"""What a model reads: kinds of inputs, and which of a padded text's positions hold a token."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

KINDS = {
    "image": "images [height, width, channels]",
    "series": "series [steps, channels]",
    "features": "features [numbers]",
    "tokens": "texts of token ids [length]",
    "text": "windows of a text [length]",
}


class Inputs(NamedTuple):
    """The inputs of a data set, as a model takes them.

    Attributes:
      kind: one of KINDS, or "array" for what only a model of the user's own takes; "text" has a label for
        each position, all others have one for an example.
      shape: of one example.
      ids: how many ids there are of tokens or of a text's characters; else 0.
      padding: the id that fills texts up behind their end, or None.
    """

    kind: str
    shape: tuple[int, ...]
    ids: int = 0
    padding: int | None = None

    @property
    def example(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of a batch of one input, [1, ...]."""
        return jax.ShapeDtypeStruct((1, *self.shape), jnp.int32 if self.ids else jnp.float32)

    @property
    def each_position(self) -> bool:
        """Whether each position of an example has a label."""
        return self.kind == "text"

    def seen(self, x: jax.Array) -> jax.Array | None:
        """[B, T] bool, whether a position of x [B, T] is before the text's end; None if all of them are."""
        if self.padding is None:
            return None
        # a batch of zeros, as at the start, may hold no token: a softmax over nothing is NaN
        return (x != self.padding) | (jnp.arange(x.shape[1]) == 0)


def pooled(x: jax.Array, seen: jax.Array | None, pool: str) -> jax.Array:
    """[B, T, M] -> [B, M], over the positions that are `seen` [B, T]: their "mean", or the "last" one."""
    if seen is None:
        return x.mean(1) if pool == "mean" else x[:, -1]
    count = seen.sum(1, dtype=jnp.int32)
    if pool == "mean":
        total = jnp.sum(jnp.where(seen[..., None], x, 0), 1)
        return total / count[:, None].astype(x.dtype)
    return jnp.take_along_axis(x, (count - 1)[:, None, None], axis=1)[:, 0]
