"""Transformer (Vaswani et al., 2017) in the form of the FedTP authors: post-norm encoder.

Axes: B batch, T positions (characters, tokens, steps, features), R = B * T rows, M = dim, A heads,
F = dim_head.
Leaves are named as the ViT's: block_0/attention/{query,key,value,out}, block_0/mlp/{up,down}, head, ...
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fedtp_jax.models.adapter import Adapter, AdapterSize
from fedtp_jax.models.attention import attend
from fedtp_jax.models.fused_attention import even, with_length
from fedtp_jax.models.inputs import Inputs, pooled
from fedtp_jax.models.layers import Dense, Dropout, dense, uniform_fan_in

EPSILON = 1e-6  # of every LayerNorm
XAVIER = nn.initializers.xavier_uniform()


def position_table(length: int, dim: int) -> np.ndarray:
    """[length, dim] sinusoids: sines in even columns, cosines of the same angles in the odd ones."""
    column = np.arange(dim)
    angle = np.arange(length)[:, None] / 10000 ** (column // 2 * 2 / dim)
    return np.where(column % 2 == 0, np.sin(angle), np.cos(angle)).astype(np.float32)


class Attention(nn.Module):
    """Multi-head self-attention with dropout on the weights and on the output, without any bias."""

    tokens: int
    heads: int
    dim_head: int
    dropout: float
    causal: bool
    fused: bool
    adapter: AdapterSize | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, seen: Any = None) -> jax.Array:  # [R, M] -> [R, M]
        dim, inner = x.shape[-1], self.heads * self.dim_head
        each = jnp.ones((len(x) // self.tokens, self.heads, self.tokens, self.tokens), x.dtype)
        factors = Dropout(self.dropout)(each, train) if train and self.dropout else None
        can_be = factors is None and not self.is_initializing()  # which is in float32
        fused = self.tokens if self.fused and can_be else None
        length = even(self.tokens) if fused else self.tokens
        beside = Adapter(self.adapter, inner, name="adapter")(x) if self.adapter else {}
        x = with_length(x, self.tokens, length)

        def project(name: str) -> jax.Array:
            rows = _dense(inner, name, use_bias=False)(x)
            if name in beside:
                rows = rows + with_length(beside[name], self.tokens, length)
            return rows.reshape(-1, length, self.heads, self.dim_head)

        projected = project("query"), project("key"), project("value")
        mixed, _ = attend(*projected, self.causal, factors, fused, seen)
        out = _dense(dim, "out", use_bias=False)(mixed.reshape(-1, inner))
        return Dropout(self.dropout)(with_length(out, length, self.tokens), train)


class Mlp(nn.Module):
    """Two linear layers with a ReLU between them."""

    hidden: int
    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:  # [R, M] -> [R, M]
        hidden = jax.nn.relu(_dense(self.hidden, "up", bias_init=uniform_fan_in(x.shape[-1]))(x))
        x = _dense(x.shape[-1], "down", bias_init=uniform_fan_in(self.hidden))(hidden)
        return Dropout(self.dropout)(x, train)


class Block(nn.Module):
    """norm(x + attention(x)), then norm(x + mlp(x))."""

    tokens: int
    heads: int
    dim_head: int
    mlp_dim: int
    dropout: float
    causal: bool
    fused: bool
    adapter: AdapterSize | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, seen: Any = None) -> jax.Array:  # [R, M] -> [R, M]
        sizes = self.tokens, self.heads, self.dim_head
        attention = Attention(*sizes, self.dropout, self.causal, self.fused, self.adapter, name="attention")
        mlp = Mlp(self.mlp_dim, self.dropout, name="mlp")
        x = nn.LayerNorm(EPSILON, name="attention_norm")(x + attention(x, train, seen))
        return nn.LayerNorm(EPSILON, name="mlp_norm")(x + mlp(x, train))


class Transformer(nn.Module):
    """Text [B, T] -> logits [B, T, outputs] of what follows each position; other inputs -> [B, outputs].

    Tokens [B, T] are embedded by a table, the steps of series [B, T, C] by a linear layer, and each number of
    features [B, T] by weights and a bias of its own (Gorishniy et al., 2021, section 3.3).

    On text with `causal` a position sees itself and the past. Without, as in the authors' code, it also sees
    the very characters that it is to predict. On other inputs all positions see each other, and are pooled to
    their "mean" or the "last" one. `fused`: attention as one kernel of a GPU, unless weights drop out.
    """

    outputs: int
    inputs: Inputs
    dim: int = 128
    depth: int = 2
    heads: int = 8
    dim_head: int = 64
    mlp_dim: int = 256
    dropout: float = 0.1
    pool: str = "mean"
    causal: bool = True
    fused: bool = False
    adapter: AdapterSize | None = None

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool = False, mask: jax.Array | None = None) -> jax.Array:
        del mask  # no layer mixes examples
        x, seen, text = self.embedded(inputs), self.inputs.seen(inputs), self.inputs.each_position
        length = x.shape[1]
        x = Dropout(self.dropout)(x.reshape(-1, self.dim), train)
        x = nn.LayerNorm(EPSILON, name="embedding_norm")(x)
        sizes = length, self.heads, self.dim_head, self.mlp_dim
        how = self.dropout, text and self.causal, self.fused, self.adapter
        for number in range(self.depth):
            x = Block(*sizes, *how, name=f"block_{number}")(x, train, seen)
        x = x.reshape(-1, length, self.dim)
        features = x if text else pooled(x, seen, self.pool)
        self.sow("intermediates", "features", features)
        if text:
            return _dense(self.outputs, "head", use_bias=False)(features) * self.dim**-0.5
        return dense(self.outputs, self.dim, "head")(features)

    def embedded(self, inputs: jax.Array) -> jax.Array:
        """[B, T, M]."""
        if self.inputs.kind == "features":
            init, shape = uniform_fan_in(self.dim), (inputs.shape[1], self.dim)
            kernel, bias = (self.param(f"embedding_{part}", init, shape) for part in ("kernel", "bias"))
            return inputs[..., None] * kernel + bias
        if self.inputs.ids:
            table = self.param("embedding", XAVIER, (self.inputs.ids, self.dim))
            x = table[inputs]
        else:
            x = dense(self.dim, inputs.shape[-1], "embedding")(inputs)
        return x + position_table(inputs.shape[1], self.dim).astype(x.dtype)


def _dense(
    features: int,
    name: str,
    use_bias: bool = True,
    bias_init: nn.initializers.Initializer = nn.initializers.zeros,
) -> Dense:
    return Dense(features, use_bias=use_bias, kernel_init=XAVIER, bias_init=bias_init, name=name)
