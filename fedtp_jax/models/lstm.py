"""Stacked LSTM (Hochreiter & Schmidhuber, 1997) in PyTorch's form: gates i, f, g, o and two biases.

Axes: B batch, T characters, tokens or steps, V ids, E embedding, H hidden.
Leaves: embedding [V, E] of ids, layer_0/{input,recurrent}/{kernel,bias}, head.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedtp_jax.models.inputs import Inputs, pooled
from fedtp_jax.models.layers import dense, uniform_fan_in


class Layer(nn.Module):
    """One layer from zero state, [B, T, M] -> [B, T, H]."""

    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        gates = 4 * self.hidden
        init = uniform_fan_in(self.hidden)  # PyTorch's bound, also for the weights of the inputs

        def init_recurrent(key: jax.Array) -> dict[str, jax.Array]:
            for_kernel, for_bias = jax.random.split(key)
            return {"kernel": init(for_kernel, (self.hidden, gates)), "bias": init(for_bias, (gates,))}

        recurrent = self.param("recurrent", init_recurrent)
        projected = dense(gates, self.hidden, "input")(x) + recurrent["bias"]

        def step(
            state: tuple[jax.Array, jax.Array], now: jax.Array
        ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            output, cell = state
            gates = (now + output @ recurrent["kernel"]).astype(jnp.float32)
            i, f, g, o = jnp.split(gates, 4, axis=-1)
            cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            output = (jax.nn.sigmoid(o) * jnp.tanh(cell)).astype(now.dtype)
            return (output, cell), output

        zero = jnp.zeros((len(x), self.hidden))  # a cell sums over the window: float32 always
        state = (zero.astype(projected.dtype), zero)
        _, outputs = jax.lax.scan(step, state, projected.swapaxes(0, 1))
        return outputs.swapaxes(0, 1)


class Lstm(nn.Module):
    """Text [B, T] -> logits [B, T, outputs] of what follows each position; other inputs -> [B, outputs].

    Of tokens [B, T] and series [B, T, C] the outputs are pooled to their "mean" or the "last" one.
    """

    outputs: int
    inputs: Inputs
    embedding: int = 8
    hidden: int = 256
    layers: int = 2
    pool: str = "last"

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool = False, mask: jax.Array | None = None) -> jax.Array:
        del train, mask  # no dropout, and no layer mixes examples
        x = inputs
        if self.inputs.ids:
            unit = nn.initializers.normal(1.0)
            x = self.param("embedding", unit, (self.inputs.ids, self.embedding))[inputs]
        for layer in range(self.layers):
            x = Layer(self.hidden, name=f"layer_{layer}")(x)
        features = x if self.inputs.each_position else pooled(x, self.inputs.seen(inputs), self.pool)
        self.sow("intermediates", "features", features)
        return dense(self.outputs, self.hidden, "head")(features)
