"""Federated training as plain Python loops, to be read like the paper: no lanes, no vmap, no batched vjp.

It shares with the package the model, the hypernetwork and the random streams, nothing of the engine.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fedtp_jax import rng, tree

QKV = ("query", "key", "value")


def is_qkv(path):
    return path.endswith("/kernel") and path.split("/")[-2] in QKV


def is_head(path):
    return "/head/" in path


class Oracle:
    """The server and the clients of one simulation; `method` is a name, `data` (x, y) already normalised."""

    def __init__(self, method, model, hypernetwork, x, y, shards, training, seed, mu=0.0):
        self.method, self.model, self.hypernetwork = method, model, hypernetwork
        self.x, self.y, self.shards = x, y, shards
        self.training, self.seed, self.mu = training, seed, mu
        self.gradient = jax.jit(jax.grad(self.loss))
        self.generate = jax.jit(lambda phi, k: hypernetwork.apply(tree.unflatten(phi), jnp.array([k])))

    def loss(self, weights, anchor, x, y, key):
        logits = self.model.apply(tree.unflatten(weights), x, train=True, rngs={"dropout": key})
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return loss + self.mu / 2 * sum(jnp.sum((weights[p] - anchor[p]) ** 2) for p in weights)

    def local_training(self, weights, client, round):
        """SGD with momentum over the client's batches, from a fresh optimizer."""
        t = self.training
        anchor, velocity, step = weights, {p: jnp.zeros_like(w) for p, w in weights.items()}, 0
        order = rng.generator(self.seed, rng.Purpose.BATCHES, round, client)
        key = jax.random.fold_in(rng.key(self.seed, rng.Purpose.CLIENT, round), client)
        for _ in range(t.local_epochs):
            shuffled = order.permutation(self.shards[client])
            for first in range(0, len(shuffled), t.batch_size):
                batch = shuffled[first : first + t.batch_size]
                noise = jax.random.fold_in(key, step)
                gradient = self.gradient(weights, anchor, self.x[batch], self.y[batch], noise)
                for p in weights:
                    decayed = gradient[p] + t.weight_decay * weights[p]
                    velocity[p] = 0.9 * velocity[p] + decayed
                weights = {p: weights[p] - t.learning_rate * velocity[p] for p in weights}
                step += 1
        return weights

    def personal(self, path):
        """Whether this leaf stays with the client."""
        return {"local": True, "vanilla": is_qkv(path), "fedper": is_head(path)}.get(self.method, False)

    def round(self, server, cohort, round):
        """One communication round; `server` = {"w": weights, "own": {client: weights}, "phi", "velocity"}."""
        sizes = np.array([len(self.shards[k]) for k in cohort])
        p = sizes / sizes.sum()
        mean = {path: jnp.zeros_like(w) for path, w in server["w"].items()}
        hyper_gradient = {path: jnp.zeros_like(w) for path, w in server["phi"].items()}
        for p_k, k in zip(p, cohort, strict=True):
            weights = {**server["w"], **server["own"][k]}
            if self.method == "fedtp":
                generated, vjp = jax.vjp(lambda phi, k=k: self.generate(phi, k), server["phi"])
                weights = {**weights, **{path: g[0] for path, g in generated.items()}}
            trained = self.local_training(weights, k, round)
            mean = {path: mean[path] + np.float32(p_k) * trained[path] for path in mean}
            server["own"][k] = {path: w for path, w in trained.items() if self.personal(path)}
            if self.method == "fedtp":
                delta = {path: (weights[path] - trained[path])[None] for path in generated}
                gradient = vjp(delta)[0]
                hyper_gradient = {
                    q: hyper_gradient[q] + np.float32(p_k) * gradient[q] for q in hyper_gradient
                }
        server["w"] = mean
        if self.method == "fedtp":
            self.hypernetwork_step(server, hyper_gradient)

    def hypernetwork_step(self, server, gradient, momentum=0.9, weight_decay=1e-3):
        for q, phi in server["phi"].items():
            server["velocity"][q] = momentum * server["velocity"][q] + gradient[q] + weight_decay * phi
        lr = self.training.learning_rate
        server["phi"] = {q: phi - lr * server["velocity"][q] for q, phi in server["phi"].items()}
