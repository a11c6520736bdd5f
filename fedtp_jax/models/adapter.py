"""An adapter beside attention, for the Transformers (Sun et al., FedPerfix, ICCV 2023, arXiv 2308.09160)."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedtp_jax.models.layers import dense


class AdapterSize(NamedTuple):
    """Width of the hidden layer, and the factor s of what is added."""

    hidden: int
    scale: float


class Adapter(nn.Module):
    """s * Up(tanh(Down x)), to be added to what attention projects the same x to.

    As in the authors' code: both layers have biases and PyTorch's initial values, as any linear layer, so
    that an adapter adds something from the first step on; and queries are left alone. Keys and values get a
    half each.
    """

    size: AdapterSize
    outputs: int

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:  # [R, M] -> {name: [R, outputs]}
        hidden = jnp.tanh(dense(self.size.hidden, x.shape[-1], "down")(x))
        both = self.size.scale * dense(2 * self.outputs, self.size.hidden, "up")(hidden)
        return {"key": both[:, : self.outputs], "value": both[:, self.outputs :]}
