"""The server's hypernetwork (FedTP, Li et al. 2023, section III; after pFedHN, Shamsian et al. 2021)."""

import math
from collections.abc import Mapping

import flax.linen as nn
import jax

from fedtp_jax.models.layers import dense


def head_of(path: str) -> str:
    """The name of the head that makes the leaf at `path`."""
    return "head:" + path.replace("/", ".")


def right_of(path: str) -> str:
    """That of the head that makes the right factor of a matrix of low rank; `head_of` makes the left one."""
    return "right:" + path.replace("/", ".")


class Hypernetwork(nn.Module):
    """Clients' embeddings [K, E] -> a value for every generated leaf, {path: [K, *shape]}.

    A trunk of linear layers, one linear head per leaf; with a rank two for each matrix, which is the product
    of what they make (Hu et al., LoRA, ICLR 2022, arXiv 2106.09685, section 4.1). It knows only the leaves'
    shapes, so it serves any model and any set of leaves.

    Attributes:
      shapes: {path: shape} of the leaves to generate.
      hidden, layers: the trunk's width, its number of hidden layers.
      rank: of matrices; None, or no less than their shorter side: whole.
    """

    shapes: Mapping[str, tuple[int, ...]]
    hidden: int = 150
    layers: int = 3
    rank: int | None = None

    @nn.compact
    def __call__(self, embeddings: jax.Array) -> dict[str, jax.Array]:
        x = dense(self.hidden, embeddings.shape[-1], "trunk_0")(embeddings)
        for layer in range(self.layers):  # no activation after the last, as in the authors' code
            x = dense(self.hidden, self.hidden, f"trunk_{layer + 1}")(jax.nn.relu(x))
        return {path: self._made(path, shape, x) for path, shape in self.shapes.items()}

    def _made(self, path: str, shape: tuple[int, ...], x: jax.Array) -> jax.Array:
        """[K, *shape]; a kernel of more axes is a matrix of its last one."""
        *before, columns = shape or (1,)
        rows, rank = math.prod(before), self.rank
        if rank is None or len(shape) < 2 or rank >= min(rows, columns):
            return dense(math.prod(shape), self.hidden, head_of(path))(x).reshape(-1, *shape)
        left = dense(rows * rank, self.hidden, head_of(path))(x).reshape(-1, rows, rank)
        right = dense(rank * columns, self.hidden, right_of(path))(x).reshape(-1, rank, columns)
        return (left @ right).reshape(-1, *shape)
