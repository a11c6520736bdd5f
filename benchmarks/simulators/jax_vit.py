"""The ViT of benchmarks/torch_models.py in plain JAX, on parameters of the same names and layouts.

Axes: B batch, H W C image, S tokens, M = dim, A heads, F = dim_head.
"""

from types import SimpleNamespace

import jax
import jax.numpy as jnp

Parameters = dict[str, jax.Array]


def vit(parameters: Parameters, images: jax.Array, settings: SimpleNamespace) -> jax.Array:
    """Images [B, H, W, C] -> logits [B, classes]."""
    x = linear(parameters, "to_patch_embedding.1", patches(images, settings.patch_size))
    token = jnp.broadcast_to(parameters["cls_token"], (len(x), 1, settings.dim))
    x = jnp.concatenate([token, x], axis=1) + parameters["pos_embedding"]
    for block in range(settings.depth):
        name = f"transformer.layers.{block}"
        x = x + attention(parameters, f"{name}.0.fn", norm(parameters, f"{name}.0.norm", x), settings)
        up = linear(parameters, f"{name}.1.fn.net.0", norm(parameters, f"{name}.1.norm", x))
        x = x + linear(parameters, f"{name}.1.fn.net.3", jax.nn.gelu(up, approximate=False))
    return linear(parameters, "mlp_head.1", norm(parameters, "mlp_head.0", x[:, 0]))


def attention(parameters: Parameters, name: str, x: jax.Array, settings: SimpleNamespace) -> jax.Array:
    """Multi-head self-attention, [B, S, M] -> [B, S, M]."""
    fused = x @ parameters[f"{name}.to_qkv.weight"].T
    split = fused.reshape(*x.shape[:-1], 3, settings.heads, settings.dim_head)
    query, key, value = jnp.moveaxis(split, 2, 0)  # [B, S, A, F]
    scores = jnp.einsum("bsaf,btaf->bast", query, key) * settings.dim_head**-0.5
    mixed = jnp.einsum("bast,btaf->bsaf", jax.nn.softmax(scores), value)
    return linear(parameters, f"{name}.to_out.0", mixed.reshape(*x.shape[:-1], -1))


def linear(parameters: Parameters, name: str, x: jax.Array) -> jax.Array:
    """PyTorch's Linear."""
    return x @ parameters[f"{name}.weight"].T + parameters[f"{name}.bias"]


def norm(parameters: Parameters, name: str, x: jax.Array) -> jax.Array:
    """PyTorch's LayerNorm."""
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * parameters[f"{name}.weight"] + parameters[f"{name}.bias"]


def patches(images: jax.Array, size: int) -> jax.Array:
    """[B, H, W, C] -> [B, patches, size^2 * C]."""
    b, h, w, c = images.shape
    x = images.reshape(b, h // size, size, w // size, size, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, -1, size * size * c)
