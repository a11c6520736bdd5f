"""Images that are altered before each local step, at random; never where clients are tested."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

SHIFT = 1 / 8  # of a side, at most: 4 pixels of 32 (He et al., 2016, section 4.2)


def augmented(names: Sequence[str], x: jax.Array, black: Sequence[float], key: jax.Array) -> jax.Array:
    """x [B, H, W, C], each image altered by itself, in the order of `names` of training.augment.

    `black`: what a pixel of 0 is in x, for each channel or for all. Draws depend on the key and on an
    image's place in the batch alone.
    """
    for number, name in enumerate(names):
        x = _WAYS[name](x, jnp.asarray(black, x.dtype), jax.random.fold_in(key, number))
    return x


def _flipped(x: jax.Array, black: jax.Array, key: jax.Array) -> jax.Array:
    """Every second image in the mean with left and right exchanged."""
    turned = jax.random.bernoulli(key, shape=(len(x), 1, 1, 1))
    return jnp.where(turned, x[:, :, ::-1], x)


def _cropped(x: jax.Array, black: jax.Array, key: jax.Array) -> jax.Array:
    """Images shifted up or down and to a side by up to SHIFT of it, what comes in being black."""
    _, height, width, channels = x.shape
    most = [max(1, round(side * SHIFT)) for side in (height, width)]
    room = [(0, 0), *((shift, shift) for shift in most), (0, 0)]
    wide = jnp.pad(x - black, room) + black
    starts = [
        jax.random.randint(jax.random.fold_in(key, axis), (len(x),), 0, 2 * shift + 1)
        for axis, shift in enumerate(most)
    ]

    def cut(image: jax.Array, row: jax.Array, column: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (row, column, 0), (height, width, channels))

    return jax.vmap(cut)(wide, *starts)


_WAYS = {"flip": _flipped, "crop": _cropped}
