"""Vision Transformer (Dosovitskiy et al., 2021) in the form of the FedTP authors: pre-norm, class token.

Axes: B batch, H W C image, S tokens (1 + patches), R = B * S rows, M = dim, A heads, F = dim_head.
Between embedding and head all is rows: what is read in two shapes XLA on CPU computes twice.
Leaves are named for role rules: block_0/attention/{query,key,value,out}, block_0/mlp/{up,down}, head, ...
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedtp_jax.models.adapter import Adapter, AdapterSize
from fedtp_jax.models.attention import attend
from fedtp_jax.models.fused_attention import even, with_length
from fedtp_jax.models.layers import Dropout, dense, gelu

EPSILON = 1e-5  # of every LayerNorm


class Attention(nn.Module):
    """Multi-head self-attention, without dropout on the weights."""

    tokens: int
    heads: int
    dim_head: int
    dropout: float
    fused: bool
    adapter: AdapterSize | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:  # [R, M] -> [R, M]
        dim, inner = x.shape[-1], self.heads * self.dim_head
        fused = self.tokens if self.fused and not self.is_initializing() else None  # which is in float32
        length = even(self.tokens) if fused else self.tokens
        beside = Adapter(self.adapter, inner, name="adapter")(x) if self.adapter else {}
        x = with_length(x, self.tokens, length)

        def project(name: str) -> jax.Array:
            rows = dense(inner, dim, name, use_bias=False)(x)
            if name in beside:
                rows = rows + with_length(beside[name], self.tokens, length)
            return rows.reshape(-1, length, self.heads, self.dim_head)

        mixed, weights = attend(project("query"), project("key"), project("value"), fused=fused)
        self.sow("intermediates", "attention", weights)  # in training nobody asks, and XLA drops them
        mixed = mixed.reshape(-1, inner)
        if self.heads == 1 and self.dim_head == dim:
            return with_length(mixed, length, self.tokens)  # as the authors' code: nothing to project
        out = with_length(dense(dim, inner, "out")(mixed), length, self.tokens)
        return Dropout(self.dropout)(out, train)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    hidden: int
    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:  # [R, M] -> [R, M]
        dim = x.shape[-1]
        x = gelu(dense(self.hidden, dim, "up")(x))
        x = Dropout(self.dropout)(x, train)
        return Dropout(self.dropout)(dense(dim, self.hidden, "down")(x), train)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    tokens: int
    heads: int
    dim_head: int
    mlp_dim: int
    dropout: float
    fused: bool
    adapter: AdapterSize | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:  # [R, M] -> [R, M]
        sizes = self.tokens, self.heads, self.dim_head
        attention = Attention(*sizes, self.dropout, self.fused, self.adapter, name="attention")
        mlp = Mlp(self.mlp_dim, self.dropout, name="mlp")
        x = x + attention(nn.LayerNorm(EPSILON, name="attention_norm")(x), train)
        return x + mlp(nn.LayerNorm(EPSILON, name="mlp_norm")(x), train)


class Vit(nn.Module):
    """Images [B, H, W, C] -> logits [B, num_classes]. `fused`: attention as one kernel of a GPU."""

    num_classes: int
    patch_size: int = 4
    dim: int = 128
    depth: int = 6
    heads: int = 8
    dim_head: int = 64
    mlp_dim: int = 256
    dropout: float = 0.1
    fused: bool = False
    adapter: AdapterSize | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, mask: jax.Array | None = None) -> jax.Array:
        del mask  # no layer mixes examples
        x = dense(self.dim, self.patch_size**2 * images.shape[-1], "patch_embedding")(self.patches(images))
        unit = nn.initializers.normal(1.0)
        token = self.param("class_token", unit, (1, 1, self.dim))
        x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, self.dim)), x], axis=1)
        x = x + self.param("position_embedding", unit, (1, x.shape[1], self.dim))
        x, tokens = Dropout(self.dropout)(x, train).reshape(-1, self.dim), x.shape[1]
        sizes = tokens, self.heads, self.dim_head, self.mlp_dim
        for block in range(self.depth):
            x = Block(*sizes, self.dropout, self.fused, self.adapter, name=f"block_{block}")(x, train)
        features = x.reshape(-1, tokens, self.dim)[:, 0]
        self.sow("intermediates", "features", features)
        return dense(self.num_classes, self.dim, "head")(nn.LayerNorm(EPSILON, name="head_norm")(features))

    def patches(self, images: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, patches, patch_size^2 * C], values in order row in patch, column, channel."""
        b, h, w, c = images.shape
        p = self.patch_size
        x = images.reshape(b, h // p, p, w // p, p, c).transpose(0, 1, 3, 2, 4, 5)
        return x.reshape(b, (h // p) * (w // p), p * p * c)
