"""Convolutions over time (Waibel et al., 1989: time-delay networks), and the mean over time behind them.

Leaves: conv_1, conv_2, dense_1, head.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedtp_jax.models.layers import Convolution, dense

WIDTH = 5  # steps that a convolution sees
FEWEST_STEPS = 3 * WIDTH - 1  # two convolutions, the first one's steps halved, leave one


class Cnn1d(nn.Module):
    """Series [B, T, C] -> logits [B, outputs]."""

    outputs: int
    kernels: int = 32
    hidden: int = 64

    @nn.compact
    def __call__(self, series: jax.Array, train: bool = False, mask: jax.Array | None = None) -> jax.Array:
        del mask  # no layer mixes examples
        x = series[:, :, None]  # an image one pixel wide
        x = jax.nn.relu(Convolution(self.kernels, (WIDTH, 1), name="conv_1")(x, train))
        steps = x.shape[1] // 2 * 2
        x = jnp.maximum(x[:, 0:steps:2], x[:, 1:steps:2])
        x = jax.nn.relu(Convolution(2 * self.kernels, (WIDTH, 1), name="conv_2")(x, train))
        x = x.mean((1, 2))
        x = jax.nn.relu(dense(self.hidden, x.shape[-1], "dense_1")(x))
        self.sow("intermediates", "features", x)
        return dense(self.outputs, self.hidden, "head")(x)
