"""Multilayer perceptron; without a hidden layer multinomial logistic regression.

Leaves: dense_1, dense_2, ..., head.
"""

import flax.linen as nn
import jax

from fedtp_jax.models.layers import Dropout, dense


class Mlp(nn.Module):
    """Numbers [B, ...], flattened -> logits [B, outputs]."""

    outputs: int
    hidden: int = 128
    layers: int = 2
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, mask: jax.Array | None = None) -> jax.Array:
        del mask  # no layer mixes examples
        x = x.reshape(len(x), -1)
        for layer in range(1, self.layers + 1):
            x = jax.nn.relu(dense(self.hidden, x.shape[-1], f"dense_{layer}")(x))
            x = Dropout(self.dropout)(x, train)
        self.sow("intermediates", "features", x)
        return dense(self.outputs, x.shape[-1], "head")(x)
