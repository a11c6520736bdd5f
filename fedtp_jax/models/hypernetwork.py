"""The server's hypernetwork (FedTP, Li et al. 2023, section III; after pFedHN, Shamsian et al. 2021)."""

import math
from collections.abc import Mapping

import flax.linen as nn
import jax

from fedtp_jax.models.layers import dense


def head_of(path: str) -> str:
    """The name of the head that makes the leaf at `path`."""
    return "head:" + path.replace("/", ".")


class Hypernetwork(nn.Module):
    """Clients' embeddings [K, E] -> a value for every generated leaf, {path: [K, *shape]}.

    A trunk of linear layers, one linear head per leaf. It knows only the leaves' shapes, so it serves any
    model and any set of leaves.

    Attributes:
      shapes: {path: shape} of the leaves to generate.
      hidden, layers: the trunk's width, its number of hidden layers.
    """

    shapes: Mapping[str, tuple[int, ...]]
    hidden: int = 150
    layers: int = 3

    @nn.compact
    def __call__(self, embeddings: jax.Array) -> dict[str, jax.Array]:
        x = dense(self.hidden, embeddings.shape[-1], "trunk_0")(embeddings)
        for layer in range(self.layers):  # no activation after the last, as in the authors' code
            x = dense(self.hidden, self.hidden, f"trunk_{layer + 1}")(jax.nn.relu(x))
        return {
            path: dense(math.prod(shape), self.hidden, head_of(path))(x).reshape(-1, *shape)
            for path, shape in self.shapes.items()
        }
