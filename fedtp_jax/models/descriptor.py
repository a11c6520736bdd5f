"""What computes a client's embedding from its examples (PeFLL, Scott et al. 2024, section 3)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedtp_jax.models.cnn import SMALLEST_SIDE
from fedtp_jax.models.inputs import Inputs, pooled
from fedtp_jax.models.layers import Convolution, dense, max_pool


class Descriptor(nn.Module):
    """Examples and their labels -> [B, size]: what each adds to the mean that is its client's embedding.

    On images it is the authors' network: the label as planes of the image, of which its own is 1, two
    convolutions and three linear layers; smaller images than it takes get a margin of zeros. On vectors it is
    the linear layers alone, on tokens and text the mean of these, and of their labels, before them.

    Attributes:
      size: E, of an embedding.
      num_classes: C.
      inputs: what x is.
      kernels: of the first convolution; the second one has twice as many.
    """

    size: int
    num_classes: int
    inputs: Inputs
    kernels: int = 16

    @nn.compact
    def __call__(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """x [B, H, W, channels] or [B, ...] numbers, or [B, T] ids; y [B], of text [B, T], numbers [B, C]."""
        labels = y if jnp.issubdtype(y.dtype, jnp.floating) else jax.nn.one_hot(y, self.num_classes)
        if self.inputs.ids:
            tokens = pooled(jax.nn.one_hot(x, self.inputs.ids), self.inputs.seen(x), "mean")
            x = jnp.concatenate([tokens, labels.reshape(len(x), -1, labels.shape[-1]).mean(1)], -1)
        elif x.ndim == 4:
            x = self._convolved(x, labels)
        else:
            x = jnp.concatenate([x.reshape(len(x), -1), labels], -1)
        for layer, features in enumerate((120, 84), start=1):
            x = jax.nn.relu(dense(features, x.shape[-1], f"dense_{layer}")(x))
        return dense(self.size, x.shape[-1], "embedding")(x)

    def _convolved(self, images: jax.Array, labels: jax.Array) -> jax.Array:
        planes = jnp.broadcast_to(labels[:, None, None], (*images.shape[:3], labels.shape[-1]))
        margins = [max(SMALLEST_SIDE - side, 0) for side in images.shape[1:3]]
        x = jnp.concatenate([images, planes], -1)
        x = jnp.pad(x, ((0, 0), *((margin // 2, -(-margin // 2)) for margin in margins), (0, 0)))
        for layer, features in enumerate((self.kernels, 2 * self.kernels), start=1):
            x = max_pool(jax.nn.relu(Convolution(features, (5, 5), name=f"conv_{layer}")(x, train=True)))
        return x.reshape(len(x), -1)
