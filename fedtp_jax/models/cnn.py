"""Convolutional networks of the FedTP authors: LeNet-style (LeCun et al., 1998), with or without batch norm.

Leaves: conv_1, conv_2, dense_1, dense_2, head; norm_1 .. norm_4 after the first four of them.
"""

import flax.linen as nn
import jax

from fedtp_jax.models.layers import BatchNorm, Convolution, dense, max_pool

SMALLEST_SIDE = 16  # of an image: two 5x5 convolutions, each halved, leave one pixel


class Cnn(nn.Module):
    """Images [B, H, W, C] -> logits [B, num_classes]."""

    num_classes: int
    kernels: int = 16
    batch_norm: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, mask: jax.Array | None = None) -> jax.Array:
        def activate(x: jax.Array, layer: int) -> jax.Array:
            if self.batch_norm:
                x = BatchNorm(name=f"norm_{layer}")(x, train, mask)
            return jax.nn.relu(x)

        x = images
        for layer, features in enumerate((self.kernels, 2 * self.kernels), start=1):
            x = max_pool(activate(Convolution(features, (5, 5), name=f"conv_{layer}")(x, train), layer))
        x = x.reshape(len(x), -1)
        for layer, features in enumerate((120, 84), start=1):
            x = activate(dense(features, x.shape[-1], f"dense_{layer}")(x), 2 + layer)
        self.sow("intermediates", "features", x)
        return dense(self.num_classes, x.shape[-1], "head")(x)
