"""The network and the hypernetwork as the plain loops use them: one client, one example at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from fedtp_jax.core import tree
from fedtp_jax.models.hypernetwork import Hypernetwork


def is_parameter(path):
    """Whether the model's gradient reaches this leaf: not running statistics, nor FedRod's personal head."""
    return path.startswith("params/")


class Network:
    """The Flax model: logits and features, and the gradient given the loss's derivatives in those two."""

    def __init__(self, model):
        self.model = model
        self.init = jax.jit(model.init)
        self.predict_one = jax.jit(self._predict)
        self.forward = jax.jit(self._forward)
        self.backward = jax.jit(self._backward)

    def predict(self, weights, x):
        """(logits, features) in evaluation, one example after the other."""
        one_by_one = [to_numpy(self.predict_one(weights, one[None])) for one in x]
        return tuple(np.concatenate(parts) for parts in zip(*one_by_one, strict=True))

    def _predict(self, weights, x):
        logits, new = self.model.apply(self._variables(weights), x, mutable=["intermediates"])
        return logits, new["intermediates"]["features"][0]

    def _forward(self, weights, x, key):
        """(logits, features, new running statistics) in training mode."""
        mutable = ["intermediates", "batch_stats"]
        logits, new = self.model.apply(
            self._variables(weights), x, train=True, rngs={"dropout": key}, mutable=mutable
        )
        statistics = tree.flatten({"batch_stats": new["batch_stats"]}) if "batch_stats" in new else {}
        return logits, new["intermediates"]["features"][0], statistics

    def _backward(self, weights, x, key, d_logits, d_features):
        def outputs(parameters):
            return self._forward({**weights, **parameters}, x, key)[:2]

        parameters = {path: w for path, w in weights.items() if is_parameter(path)}
        return jax.vjp(outputs, parameters)[1]((d_logits, d_features))[0]

    def _variables(self, weights):
        return tree.unflatten(
            {path: w for path, w in weights.items() if path.startswith(("params/", "batch_stats/"))}
        )


class Hyper:
    """The hypernetwork for one client at a time: what it makes of z_k, and J_k^T delta for (phi, z_k)."""

    def __init__(self, shapes, embedding, hidden, layers, rank=None, spectral_norm=False):
        module = Hypernetwork(dict(shapes), hidden, layers, rank, spectral_norm)

        def generate(phi, z):
            return {path: w[0] for path, w in module.apply(tree.unflatten(phi), z[None]).items()}

        self.init = jax.jit(lambda key: tree.flatten(module.init(key, jnp.zeros((1, embedding)))))
        self.generate = jax.jit(generate)
        self.gradient = jax.jit(lambda phi, z, delta: jax.vjp(generate, phi, z)[1](delta))


network = functools.cache(Network)
hyper = functools.cache(Hyper)


def to_numpy(arrays):
    return jax.tree.map(np.asarray, arrays)
