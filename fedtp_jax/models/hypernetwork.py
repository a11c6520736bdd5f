"""The server's hypernetwork (FedTP, Li et al. 2023, section III; after pFedHN, Shamsian et al. 2021)."""

import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedtp_jax.models.layers import dense, uniform_fan_in


def head_of(path: str) -> str:
    """The name of the head that makes the leaf at `path`."""
    return "head:" + path.replace("/", ".")


def right_of(path: str) -> str:
    """That of the head that makes the right factor of a matrix of low rank; `head_of` makes the left one."""
    return "right:" + path.replace("/", ".")


class NormalisedDense(nn.Module):
    """A linear layer whose kernel is divided by its largest singular value (Miyato et al., ICLR 2018,
    arXiv 1802.05957, section 2.1), exactly rather than by a step of power iteration: it keeps no state.

    As there the singular vectors are constants to the gradient.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = uniform_fan_in(x.shape[-1])
        kernel = self.param("kernel", init, (x.shape[-1], self.features))
        bias = self.param("bias", init, (self.features,))
        return x @ (kernel / _largest(kernel)) + bias


def _largest(kernel: jax.Array) -> jax.Array:
    """The largest singular value of a matrix."""
    matrix = kernel if kernel.shape[0] <= kernel.shape[1] else kernel.T
    gram = jnp.matmul(matrix, matrix.T, precision=jax.lax.Precision.HIGHEST)
    first = jax.lax.stop_gradient(jnp.linalg.eigh(gram)[1][:, -1])
    return jnp.linalg.norm(jnp.matmul(first, matrix, precision=jax.lax.Precision.HIGHEST))


class Hypernetwork(nn.Module):
    """Clients' embeddings [K, E] -> a value for every generated leaf, {path: [K, *shape]}.

    A trunk of linear layers, one linear head per leaf; with a rank two for each matrix, which is the product
    of what they make (Hu et al., LoRA, ICLR 2022, arXiv 2106.09685, section 4.1). It knows only the leaves'
    shapes, so it serves any model and any set of leaves.

    Attributes:
      shapes: {path: shape} of the leaves to generate.
      hidden, layers: the trunk's width, its number of hidden layers.
      rank: of matrices; None, or no less than their shorter side: whole.
      spectral_norm: whether every linear layer is divided by its largest singular value.
    """

    shapes: Mapping[str, tuple[int, ...]]
    hidden: int = 150
    layers: int = 3
    rank: int | None = None
    spectral_norm: bool = False

    @nn.compact
    def __call__(self, embeddings: jax.Array) -> dict[str, jax.Array]:
        x = self._linear(self.hidden, embeddings, "trunk_0")
        for layer in range(self.layers):  # no activation after the last, as in the authors' code
            x = self._linear(self.hidden, jax.nn.relu(x), f"trunk_{layer + 1}")
        return {path: self._made(path, shape, x) for path, shape in self.shapes.items()}

    def _linear(self, features: int, x: jax.Array, name: str) -> jax.Array:
        if self.spectral_norm:
            return jnp.asarray(NormalisedDense(features, name=name)(x))
        return dense(features, x.shape[-1], name)(x)

    def _made(self, path: str, shape: tuple[int, ...], x: jax.Array) -> jax.Array:
        """[K, *shape]; a kernel of more axes is a matrix of its last one."""
        *before, columns = shape or (1,)
        rows, rank = math.prod(before), self.rank
        if rank is None or len(shape) < 2 or rank >= min(rows, columns):
            return self._linear(math.prod(shape), x, head_of(path)).reshape(-1, *shape)
        left = self._linear(rows * rank, x, head_of(path)).reshape(-1, rows, rank)
        right = self._linear(rank * columns, x, right_of(path)).reshape(-1, rank, columns)
        return (left @ right).reshape(-1, *shape)
