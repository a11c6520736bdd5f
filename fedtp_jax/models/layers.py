"""Layers shared by the models: the authors' initialisers, and dropout that is cheap under many lanes."""

import flax.linen as nn
import jax
import jax.numpy as jnp


def uniform_fan_in(fan_in: int) -> nn.initializers.Initializer:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default for linear layers, kernels and biases alike."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> jax.Array:
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def dense(features: int, fan_in: int, name: str, use_bias: bool = True) -> nn.Dense:
    """A linear layer with PyTorch's default initial values; `fan_in` is its input width."""
    init = uniform_fan_in(fan_in)
    return nn.Dense(features, use_bias=use_bias, kernel_init=init, bias_init=init, name=name)


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
