"""Layers shared by the models: PyTorch's initial values, batch norm over padded batches, and activations,
dropout and pooling that are cheap under many lanes.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedtp_jax.models.products import dot_general


def uniform_fan_in(fan_in: int) -> nn.initializers.Initializer:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default for linear layers, kernels and biases alike."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> jax.Array:
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class Dense(nn.Dense):
    """A linear layer for which all axes before the last are one, with the gradient of `product`."""

    dot_general: Any = dot_general

    def __call__(self, inputs: jax.Array) -> jax.Array:
        rows = super().__call__(inputs.reshape(-1, inputs.shape[-1]))
        return rows.reshape(*inputs.shape[:-1], self.features)


def dense(features: int, fan_in: int, name: str, use_bias: bool = True) -> Dense:
    """A linear layer with PyTorch's default initial values; `fan_in` is its input width."""
    init = uniform_fan_in(fan_in)
    return Dense(features, use_bias=use_bias, kernel_init=init, bias_init=init, name=name)


class Convolution(nn.Module):
    """Without padding, [B, H, W, C] -> [B, H - h + 1, W - w + 1, features]; size: h x w.

    Initial values are PyTorch's. In training it is one matrix product over all windows: the gradient of XLA's
    own convolution is several times slower inside a loop on CPU, and becomes a grouped one under many lanes.
    """

    features: int
    size: tuple[int, int]

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        (rows, columns), channels = self.size, x.shape[-1]
        init = uniform_fan_in(rows * columns * channels)
        kernel = self.param("kernel", init, (rows, columns, channels, self.features))
        bias = self.param("bias", init, (self.features,))
        if not train:
            layout = ("NHWC", "HWIO", "NHWC")
            return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=layout) + bias
        height, width = x.shape[1] - rows + 1, x.shape[2] - columns + 1
        shifted = [x[:, i : i + height, j : j + width] for i in range(rows) for j in range(columns)]
        windows = jnp.concatenate(shifted, axis=-1)
        # an axis of size 1 has XLA on CPU take the product that is faster for so narrow a kernel's gradient
        kernel = kernel.reshape(1, -1, self.features)
        return jax.vmap(jnp.matmul)(windows[None], kernel)[0] + bias


@jax.custom_vjp
def gelu(x: jax.Array) -> jax.Array:
    """x Phi(x) with the normal distribution's Phi itself (Hendrycks & Gimpel, 2016), as PyTorch computes it.

    One erf of all values takes less time than JAX's own choice between two erfc, and so does its gradient,
    from the inputs again.
    """
    return x * _share(x)


def _share(x: jax.Array) -> jax.Array:
    return 0.5 + 0.5 * jax.lax.erf(x * 0.5**0.5)


def _gelu_gradient(x: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
    density = jnp.exp(-0.5 * x * x) * (2 * math.pi) ** -0.5
    return (cotangent * (_share(x) + x * density),)


gelu.defvjp(lambda x: (gelu(x), x), _gelu_gradient)


def max_pool(x: jax.Array) -> jax.Array:
    """The largest of every 2 x 2 pixels, [B, H, W, C] -> [B, H // 2, W // 2, C]; of equal ones the first.

    As slices rather than a reduce-window: its gradient is a select-and-scatter, several times slower.
    """
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    largest = x[:, 0:height:2, 0:width:2]
    for row, column in ((0, 1), (1, 0), (1, 1)):
        other = x[:, row:height:2, column:width:2]
        largest = jnp.where(largest >= other, largest, other)
    return largest


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy, 2015) over all axes but the last, as PyTorch defines it.

    In training the statistics are those of the batch's real examples (`mask` [B] is 1.0 there), and those
    in the collection `batch_stats` move towards them by `momentum`, if that collection is mutable. All of it
    is computed in float32, whatever the precision of the inputs.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, mask: jax.Array | None = None) -> jax.Array:
        features = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, features)
        bias = self.param("bias", nn.initializers.zeros, features)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, features)
        running_var = self.variable("batch_stats", "var", jnp.ones, features)
        mean, var = running_mean.value, running_var.value
        precision, x = x.dtype, x.astype(jnp.float32)
        scale, bias = scale.astype(jnp.float32), bias.astype(jnp.float32)
        if train:
            mean, var, count = _moments(x, mask)
            if self.is_mutable_collection("batch_stats") and not self.is_initializing():
                unbiased = var * count / jnp.maximum(count - 1.0, 1.0)
                # too few values say nothing: none about the mean, one about the variance
                rate = jnp.where(count > 0, self.momentum, 0.0)
                running_mean.value += rate * (mean - running_mean.value)
                rate = jnp.where(count > 1, self.momentum, 0.0)
                running_var.value += rate * (unbiased - running_var.value)
        return ((x - mean) * (scale * jax.lax.rsqrt(var + self.epsilon)) + bias).astype(precision)


def _moments(x: jax.Array, mask: jax.Array | None) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean and biased variance [C] over the real examples of [B, ..., C], and how many values they are of."""
    axes = tuple(range(x.ndim - 1))
    shape = (len(x),) + (1,) * (x.ndim - 1)
    real = jnp.ones(shape, x.dtype) if mask is None else mask.reshape(shape)
    count = jnp.sum(real) * (x.size // (len(x) * x.shape[-1]))
    values = jnp.maximum(count, 1.0)
    mean = jnp.sum(x * real, axes) / values
    return mean, jnp.sum((x - mean) ** 2 * real, axes) / values, count


def _hash_bits(key: jax.Array, count: int) -> jax.Array:
    """[count] uint32 words: two rounds of a 32-bit integer hash of a counter, keyed by both key words.

    About ten integer operations a word where threefry takes over a hundred: dropout masks need
    independence between examples, steps and clients, not cryptographic strength.
    """
    words = jax.random.key_data(key).reshape(-1)
    bits = jax.lax.iota(jnp.uint32, count) * jnp.uint32(0x9E3779B9) + words[0]
    for word in (words[1], words[0] ^ jnp.uint32(0x85EBCA6B)):
        bits = (bits ^ (bits >> 16)) * jnp.uint32(0x21F0AAAD)
        bits = (bits ^ (bits >> 15)) * jnp.uint32(0x735A2D97)
        bits = (bits ^ (bits >> 15)) + word
    return bits


class Dropout(nn.Module):
    """Inverted dropout: in training each value is zeroed with probability `rate`, the rest is scaled up."""

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        if not train or self.rate == 0.0:
            return x
        bits = _hash_bits(self.make_rng("dropout"), x.size).reshape(x.shape)
        keep = bits >= jnp.uint32(round(self.rate * 2**32))
        return jnp.where(keep, x / (1.0 - self.rate), 0.0)
