"""FedAvg as a user would write it in JAX without lanes: clients in series, or vmap over padded clients.

Axes: K clients, T local steps of the longest client, B batch. Of this package it takes only the model.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from fedtp_jax import config
from fedtp_jax.data.dataset import Dataset, Examples
from fedtp_jax.engine.schedule import Batches


class Padded(NamedTuple):
    """Batches of all clients, padded to the longest: positions [K, T, B], valid [K, T], steps, share [K]."""

    positions: np.ndarray
    valid: np.ndarray
    steps: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, batches: Sequence[Batches]) -> "Padded":
        """As many batches for every client; those beyond its own hold no example."""
        steps = np.array([len(client.valid) for client in batches])
        examples = np.array([client.valid.sum() for client in batches])

        def pad(rows: Any) -> np.ndarray:
            return np.pad(rows, [(0, steps.max() - len(rows)), *[(0, 0)] * (rows.ndim - 1)])

        positions, valid = (np.stack([pad(client[part]) for client in batches]) for part in (0, 1))
        return cls(positions, valid, steps, (examples / examples.sum()).astype(np.float32))


class PlainFedAvg:
    """The pieces of a FedAvg round: examples on the device, a local step, and two ways to run clients."""

    def __init__(self, model: nn.Module, data: Dataset, training: config.Training) -> None:
        assert isinstance(data.train, Examples)
        self.model = model
        self.x, self.y = jnp.asarray(data.train.x), jnp.asarray(data.train.y)
        self.mean, self.std = jnp.asarray(data.mean), jnp.asarray(data.std)
        momentum = training.optimizer.arguments["momentum"]
        decay = optax.add_decayed_weights(training.weight_decay)
        self.optimizer = optax.chain(decay, optax.sgd(training.learning_rate, momentum))

    def init(self) -> Any:
        return self.model.init(jax.random.key(0), jnp.zeros((1, *self.x.shape[1:])))

    def step(self, carry: Any, positions: jax.Array, valid: jax.Array, key: jax.Array) -> Any:
        """One local step of one client on the first `valid` of the examples at `positions` [B]."""
        weights, opt = carry
        x = (self.x[positions].astype(jnp.float32) / 255 - self.mean) / self.std
        mask = (jnp.arange(len(positions)) < valid).astype(jnp.float32)

        def loss(weights: Any) -> jax.Array:
            logits = self.model.apply(weights, x, train=True, rngs={"dropout": key})
            losses = optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(logits), self.y[positions])
            return jnp.sum(losses * mask) / jnp.maximum(mask.sum(), 1.0)

        updates, opt = self.optimizer.update(jax.grad(loss)(weights), opt, weights)
        return optax.apply_updates(weights, updates), opt

    def in_series(self, weights: Any, batches: Sequence[Batches]) -> Callable[[], Any]:
        """The round as a Python loop over clients, each a compiled loop over its own number of steps."""
        clients = jax.device_put(Padded.of(batches))

        @jax.jit
        def train(weights: Any, total: Any, clients: Padded, k: jax.Array) -> Any:
            key = jax.random.fold_in(jax.random.key(1), k)

            def tick(t: jax.Array, carry: Any) -> Any:
                return self.step(
                    carry, clients.positions[k, t], clients.valid[k, t], jax.random.fold_in(key, t)
                )

            carry = weights, self.optimizer.init(weights)
            new, _ = jax.lax.fori_loop(0, clients.steps[k], tick, carry)
            return jax.tree.map(lambda sum, leaf: sum + clients.share[k] * leaf, total, new)

        def round(weights: Any) -> Any:
            total = jax.tree.map(jnp.zeros_like, weights)
            for k in range(len(batches)):
                total = train(weights, total, clients, k)
            return total

        return _repeat(round, weights)

    def padded(self, weights: Any, batches: Sequence[Batches], mesh: Mesh | None = None) -> Callable[[], Any]:
        """The round as vmap over clients of a scan over as many steps as the longest one has.

        With a mesh the axis of clients is split over its devices, which their number must fit.
        """
        clients = Padded.of(batches)
        if mesh is None:
            clients = jax.device_put(clients)
        else:
            clients = jax.device_put(clients, NamedSharding(mesh, P(mesh.axis_names[0])))
            weights = jax.device_put(weights, NamedSharding(mesh, P()))

        def train(weights: Any, client: Padded, key: jax.Array) -> Any:
            def tick(carry: Any, now: Any) -> Any:
                positions, valid, t = now
                new = self.step(carry, positions, valid, jax.random.fold_in(key, t))
                return jax.tree.map(lambda a, b: jnp.where(valid > 0, a, b), new, carry), None

            carry = weights, self.optimizer.init(weights)
            steps = jnp.arange(len(client.valid))
            return jax.lax.scan(tick, carry, (client.positions, client.valid, steps))[0][0]

        @jax.jit
        def round(weights: Any, clients: Padded) -> Any:
            keys = jax.random.split(jax.random.key(1), len(clients.steps))
            new = jax.vmap(train, in_axes=(None, 0, 0))(weights, clients, keys)
            return jax.tree.map(lambda leaf: jnp.tensordot(clients.share, leaf, 1), new)

        return _repeat(lambda weights: round(weights, clients), weights)


def _repeat(round: Callable[[Any], Any], weights: Any) -> Callable[[], Any]:
    """A function that trains one more round at each call, waits until it is done, and returns the weights."""
    state = [weights]

    def run() -> Any:
        state[0] = jax.block_until_ready(round(state[0]))
        return state[0]

    return run
