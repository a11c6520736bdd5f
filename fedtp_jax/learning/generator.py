"""The server's hypernetwork on flat leaves: what it generates, its gradient and its optimizer."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from fedtp_jax import config
from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.rng import Purpose
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch
from fedtp_jax.learning.method import DESCRIPTOR, EMBEDDING, OPTIMIZER
from fedtp_jax.learning.optimizers import make_optimizer
from fedtp_jax.learning.task import Task
from fedtp_jax.models.descriptor import Descriptor
from fedtp_jax.models.hypernetwork import Hypernetwork, head_of

STABLE = 1e-5  # added to the variance of an embedding's numbers


class Generator:
    """A hypernetwork for leaves of these shapes; without shapes it generates nothing and holds nothing.

    Every client's embedding has an optimizer state of its own, beside it in the client's row: which clients
    take a step is then a question of which rows are stepped. With a `descriptor` no embedding is learnt: its
    rows hold what it makes of the client's examples, and it learns with the hypernetwork.
    """

    def __init__(
        self,
        task: Task,
        shapes: dict[str, tuple[int, ...]],
        settings: config.Hypernetwork,
        descriptor: Descriptor | None = None,
    ) -> None:
        self.shapes, self.size, self.descriptor = shapes, settings.embedding, descriptor
        self.base = settings.base and bool(shapes)
        self._inputs, self._labels = task.inputs, task.targets.label_shape(task.num_classes)
        self.optimizer = optax.identity()
        if shapes:
            own = settings.learning_rate
            rate = task.training.learning_rate if own is None else own
            self.optimizer = make_optimizer(
                settings.optimizer, "method.hypernetwork.optimizer", rate, settings.weight_decay
            )
        self.module = Hypernetwork(
            shapes, settings.hidden, settings.layers, settings.rank, settings.spectral_norm
        )

    def init(self, key: jax.Array, given: Leaves | None = None) -> Leaves:
        """The hypernetwork's leaves; `given`: what it is to generate for every client at first.

        Beside a base that is nothing.
        """
        if given and self.module.spectral_norm:
            raise UserError(
                "init: given, but with method.hypernetwork.spectral_norm no hypernetwork makes the same for "
                "all clients, as these variables ask for; leave out one of the two"
            )
        phi = tree.flatten(self.module.init(key, jnp.zeros((1, self.size)))) if self.shapes else {}
        if self.descriptor:
            like = self._inputs.example
            x = jnp.zeros(like.shape, like.dtype)
            y = jnp.zeros(like.shape if self._inputs.each_position else 1, jnp.int32)
            y = jnp.zeros((1, *self._labels)) if self._labels else y
            leaves = tree.flatten(self.descriptor.init(jax.random.fold_in(key, Purpose.DESCRIPTION), x, y))
            phi |= {DESCRIPTOR + path: leaf for path, leaf in leaves.items()}
        heads = {path: leaf.reshape(-1) for path, leaf in (given or {}).items()}
        if self.base:
            heads = {path: jnp.zeros_like(phi[f"params/{head_of(path)}/bias"]) for path in self.shapes}
        for path, bias in heads.items():
            head = f"params/{head_of(path)}"
            phi |= {f"{head}/kernel": jnp.zeros_like(phi[f"{head}/kernel"]), f"{head}/bias": bias}
        return phi

    def init_rows(self, key: jax.Array, ids: jax.Array) -> Leaves:
        """Embeddings of the clients `ids` [K], standard normal, and their optimizers' states.

        Those that are to be computed are zeros until they are.
        """
        if not self.shapes:
            return {}
        if self.descriptor:
            return {EMBEDDING: jnp.zeros((len(ids), self.size))}
        keys = jax.vmap(lambda k: jax.random.fold_in(key, k))(ids)
        embeddings = jax.vmap(lambda k: jax.random.normal(k, (self.size,)))(keys)
        return _rows(embeddings, jax.vmap(self.optimizer.init)(embeddings))

    def apply(self, phi: Leaves, embeddings: jax.Array) -> Leaves:
        """{path: [K, ...]} from embeddings [K, E]."""
        if self.descriptor:
            away = embeddings - embeddings.mean(axis=-1, keepdims=True)
            embeddings = away / jnp.sqrt(jnp.mean(away**2, axis=-1, keepdims=True) + STABLE)
            phi = {path: leaf for path, leaf in phi.items() if not path.startswith(DESCRIPTOR)}
        generated: Any = self.module.apply(tree.unflatten(phi), embeddings)
        return dict(generated)

    def describe(self, phi: Leaves, batch: Batch) -> jax.Array:
        """[B, E] of the descriptor: the mean over its examples is a client's embedding."""
        assert self.descriptor, "asked for where there is one"
        leaves = {path.removeprefix(DESCRIPTOR): w for path, w in phi.items() if path.startswith(DESCRIPTOR)}
        parts: Any = self.descriptor.apply(tree.unflatten(leaves), batch.x, batch.y)
        return jnp.asarray(parts)

    def gradient(self, phi: Leaves, rows: Leaves, cotangent: Leaves) -> tuple[Leaves, Leaves]:
        """(sum_k J_k^T cotangent_k, {EMBEDDING: [K, E]}) in one vjp; by linearity that of all clients."""
        if not self.shapes:
            return {}, {}
        embeddings = rows[EMBEDDING]
        if self.descriptor:  # of examples that are not finite; such a client is excluded, its cotangent 0
            finite = jnp.isfinite(embeddings).all(axis=-1, keepdims=True)
            embeddings = jnp.where(finite, embeddings, 0.0)
        _, vjp = jax.vjp(self.apply, phi, embeddings)
        of_phi, of_embeddings = vjp(cotangent)
        return of_phi, {EMBEDDING: of_embeddings}

    def step(self, phi: Leaves, opt: Any, gradient: Leaves) -> tuple[Leaves, Any]:
        """One step of its optimizer."""
        updates, opt = self.optimizer.update(gradient, opt, phi)
        return optax.apply_updates(phi, updates), opt

    def step_embeddings(self, rows: Leaves, gradient: jax.Array) -> Leaves:
        """One step of each client's embedding along its gradient [K, E]."""
        embeddings = rows[EMBEDDING]
        like = jax.eval_shape(jax.vmap(self.optimizer.init), embeddings)
        states = [rows[path] for path in _paths(like)]
        opt = jax.tree.unflatten(jax.tree.structure(like), states)
        updates, opt = jax.vmap(self.optimizer.update)(gradient, opt, embeddings)
        return _rows(optax.apply_updates(embeddings, updates), opt)


def _rows(embeddings: jax.Array, opt: Any) -> Leaves:
    return {EMBEDDING: embeddings, **dict(zip(_paths(opt), jax.tree.leaves(opt), strict=True))}


def _paths(opt: Any) -> list[str]:
    return [f"{OPTIMIZER}{number}" for number in range(len(jax.tree.leaves(opt)))]
