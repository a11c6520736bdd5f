"""The server's hypernetwork on flat leaves: what it generates, its gradient and its optimizer."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from fedtp_jax import config, tree
from fedtp_jax.methods.base import EMBEDDING, Task
from fedtp_jax.models.hypernetwork import Hypernetwork
from fedtp_jax.optimizers import make_optimizer
from fedtp_jax.tree import Leaves


class Generator:
    """A hypernetwork for leaves of these shapes; without shapes it generates nothing and holds nothing."""

    def __init__(self, task: Task, shapes: dict[str, tuple[int, ...]], settings: config.Hypernetwork) -> None:
        self.shapes, self.num_clients = shapes, task.num_clients
        self.optimizer = optax.identity()
        if shapes:
            rate = settings.learning_rate or task.training.learning_rate
            self.optimizer = make_optimizer(
                settings.optimizer, "method.hypernetwork.optimizer", rate, settings.weight_decay
            )
        self.module = Hypernetwork(
            shapes, task.num_clients, settings.embedding, settings.hidden, settings.layers
        )

    def init(self, key: jax.Array) -> Leaves:
        return tree.flatten(self.module.init(key, jnp.zeros(1, jnp.int32))) if self.shapes else {}

    def embeddings(self, phi: Leaves, ids: jax.Array) -> Leaves:
        """{EMBEDDING: [K, E]}; an id of an empty slot (N) is taken for client N - 1 and used by nobody."""
        return {EMBEDDING: jnp.take(phi["params/embedding"], ids, axis=0, mode="clip")} if self.shapes else {}

    def apply(self, phi: Leaves, embeddings: jax.Array) -> Leaves:
        """{path: [K, ...]} from embeddings [K, E]."""
        generated: Any = self.module.apply(tree.unflatten(phi), embeddings=embeddings)
        return dict(generated)

    def gradient(self, phi: Leaves, ids: jax.Array, cotangent: Leaves) -> Leaves:
        """sum_k J_k^T cotangent_k in one vjp; by linearity the sum of the clients' vjps."""
        if not self.shapes:
            return {}

        def generate(phi: Leaves) -> Leaves:
            return self.apply(phi, self.embeddings(phi, ids)[EMBEDDING])

        return jax.vjp(generate, phi)[1](cotangent)[0]

    def step(self, phi: Leaves, opt: Any, gradient: Leaves) -> tuple[Leaves, Any]:
        """One step of its optimizer."""
        updates, opt = self.optimizer.update(gradient, opt, phi)
        return optax.apply_updates(phi, updates), opt
