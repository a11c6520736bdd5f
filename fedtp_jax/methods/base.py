"""What a method is, and how one is built from the roles of the model's leaves (shared, personal, generated).

| role | who stores it | what the server does with it |
|---|---|---|
| shared | one copy on the server | weighted mean over the cohort |
| personal | N rows, one per client, never uploaded | the cohort's rows are put back |
| generated | nobody: hypernetwork(client id) | one vjp with cotangents p_k * (sent_k - returned_k) |
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fedtp_jax import config, tree
from fedtp_jax.engine import Batch, ClientWork
from fedtp_jax.errors import UserError
from fedtp_jax.models.hypernetwork import Hypernetwork
from fedtp_jax.rng import Purpose
from fedtp_jax.tree import Leaves, Role

Rule = tuple[Role, tuple[str, ...]]


class State(NamedTuple):
    """Everything the server and the clients keep between rounds.

    Attributes:
      shared: {path: leaf} one copy.
      personal: {path: [N, ...]} a row per client.
      generator: the hypernetwork's parameters, {} where nothing is generated.
      generator_opt: its optimizer's state.
    """

    shared: Leaves
    personal: Leaves
    generator: Leaves
    generator_opt: Any


class Row(NamedTuple):
    """What one client receives that others do not: its own leaves, its weight p_k in the mean."""

    leaves: Leaves
    weight: jax.Array


class Upload(NamedTuple):
    """Sums over the cohort of what clients send; `loss` and `examples` count every local step's examples."""

    shared: Leaves
    weight: jax.Array
    loss: jax.Array
    examples: jax.Array
    excluded: jax.Array


class Kept(NamedTuple):
    """Per client: its new personal leaves, and p_k * (sent - returned) of the generated ones."""

    personal: Leaves
    cotangent: Leaves


class Method(NamedTuple):
    """A method as pure functions; `ids` are client ids [K], the client axis of rows is K too.

    Attributes:
      roles: {path: role} of every leaf of the model.
      init: key -> State.
      variables: (state, ids) -> (shared, {path: [K, ...]}): what these clients would run now. The one answer
        to that question, for evaluation, export and new clients.
      send: (state, ids) -> (shared, {path: [K, ...]}): what these clients start a round from.
      work: the local training.
      receive: (state, ids, kept) -> (state, gradient of the generator): after a wave of clients.
      aggregate: (state, upload, gradient) -> State: after the round's last wave.
      predict: (leaves, inputs [B, ...]) -> logits [B, classes].
    """

    roles: Mapping[str, Role]
    init: Callable[[jax.Array], State]
    variables: Callable[[State, jax.Array], tuple[Leaves, Leaves]]
    send: Callable[[State, jax.Array], tuple[Leaves, Leaves]]
    work: ClientWork
    receive: Callable[[State, jax.Array, Kept], tuple[State, Leaves]]
    aggregate: Callable[[State, Upload, Leaves], State]
    predict: Callable[[Leaves, jax.Array], jax.Array]


class Task(NamedTuple):
    """What a method is built for: the model, its inputs' shape without batch, N clients, the clients' SGD."""

    model: nn.Module
    input_shape: tuple[int, ...]
    num_clients: int
    training: config.Training


def sgd(learning_rate: float, momentum: float, weight_decay: float) -> optax.GradientTransformation:
    """SGD as PyTorch defines it: decay joins the gradient before the momentum; no dampening, no Nesterov."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay), optax.sgd(learning_rate, momentum=momentum or None)
    )


def cross_entropy(logits: jax.Array, batch: Batch) -> jax.Array:
    """Mean over the batch's real examples; a batch without any gives 0."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.y)
    return jnp.sum(losses * batch.mask) / jnp.maximum(jnp.sum(batch.mask), 1.0)


def role_method(
    task: Task,
    rules: list[Rule],
    hypernetwork: config.Hypernetwork = config.Hypernetwork(),
    proximal: float = 0.0,
) -> Method:
    """The method that `rules` describe (first match wins); `proximal` is FedProx's mu, on shared leaves."""
    shapes = _leaf_shapes(task)
    roles = tree.assign_roles(list(shapes), rules)
    generator = _Generator(task, {p: shapes[p].shape for p in roles if roles[p] == "generated"}, hypernetwork)

    def init(key: jax.Array) -> State:
        example = jnp.zeros((1, *task.input_shape))
        leaves = tree.flatten(task.model.init(jax.random.fold_in(key, Purpose.MODEL), example))
        personal = tree.select(leaves, roles, "personal")
        rows = {p: jnp.broadcast_to(leaf, (task.num_clients, *leaf.shape)) for p, leaf in personal.items()}
        phi = generator.init(jax.random.fold_in(key, Purpose.HYPERNETWORK))
        return State(tree.select(leaves, roles, "shared"), rows, phi, generator.optimizer.init(phi))

    def variables(state: State, ids: jax.Array) -> tuple[Leaves, Leaves]:
        return state.shared, {**tree.take_rows(state.personal, ids), **generator.apply(state.generator, ids)}

    def receive(state: State, ids: jax.Array, kept: Kept) -> tuple[State, Leaves]:
        state = state._replace(personal=tree.put_rows(state.personal, ids, kept.personal))
        return state, generator.gradient(state.generator, ids, kept.cotangent)

    def aggregate(state: State, upload: Upload, gradient: Leaves) -> State:
        whole = 1.0 / upload.weight  # 1 up to rounding, unless clients were excluded
        updates, opt = generator.optimizer.update(
            tree.scale(gradient, whole), state.generator_opt, state.generator
        )
        phi = optax.apply_updates(state.generator, updates)
        return state._replace(shared=tree.scale(upload.shared, whole), generator=phi, generator_opt=opt)

    def predict(leaves: Leaves, inputs: jax.Array) -> jax.Array:
        return jnp.asarray(task.model.apply(tree.unflatten(leaves), inputs, train=False))

    work = local_training(task, roles, proximal)
    return Method(roles, init, variables, variables, work, receive, aggregate, predict)


class _TrainCarry(NamedTuple):
    leaves: Leaves
    opt: Any
    loss: jax.Array
    examples: jax.Array


def local_training(task: Task, roles: Mapping[str, Role], proximal: float) -> ClientWork:
    """Local SGD on all leaves from (shared, row), with a fresh optimizer."""
    settings = task.training
    optimizer = sgd(settings.learning_rate, settings.momentum, settings.weight_decay)

    def loss(leaves: Leaves, shared: Leaves, batch: Batch, key: jax.Array) -> jax.Array:
        logits = task.model.apply(tree.unflatten(leaves), batch.x, train=True, rngs={"dropout": key})
        value = cross_entropy(jnp.asarray(logits), batch)
        if proximal:
            value += proximal / 2 * sum(jnp.sum((leaves[p] - shared[p]) ** 2) for p in shared)
        return value

    def start(shared: Leaves, row: Row, key: jax.Array) -> _TrainCarry:
        leaves = {**shared, **row.leaves}
        return _TrainCarry(leaves, optimizer.init(leaves), jnp.zeros(()), jnp.zeros(()))

    def step(shared: Leaves, carry: _TrainCarry, batch: Batch, key: jax.Array) -> _TrainCarry:
        value, gradient = jax.value_and_grad(loss)(carry.leaves, shared, batch, key)
        updates, opt = optimizer.update(gradient, carry.opt, carry.leaves)
        count = jnp.sum(batch.mask)
        leaves = optax.apply_updates(carry.leaves, updates)
        return _TrainCarry(leaves, opt, carry.loss + count * value, carry.examples + count)

    def finish(shared: Leaves, carry: _TrainCarry, row: Row) -> tuple[Upload, Kept]:
        good = tree.all_finite((carry.leaves, carry.loss))
        start_leaves = {**shared, **row.leaves}
        leaves = jax.tree.map(lambda new, old: jnp.where(good, new, old), carry.leaves, start_leaves)
        weight = jnp.where(good, row.weight, 0.0)
        excluded = jnp.where(good, 0.0, 1.0)
        upload = Upload(
            shared=tree.scale(tree.select(leaves, roles, "shared"), weight),
            weight=weight,
            loss=jnp.where(good, carry.loss, 0.0),
            examples=jnp.where(good, carry.examples, 0.0),
            excluded=excluded,
        )
        sent = tree.select(row.leaves, roles, "generated")
        cotangent = {p: jnp.where(good, weight * (sent[p] - leaves[p]), 0.0) for p in sent}
        return upload, Kept(tree.select(leaves, roles, "personal"), cotangent)

    return ClientWork(start, step, finish)


class _Generator:
    """The hypernetwork on flat leaves, its gradient and its optimizer; generates nothing without shapes."""

    def __init__(self, task: Task, shapes: dict[str, tuple[int, ...]], settings: config.Hypernetwork) -> None:
        self.shapes = shapes
        self.num_clients = task.num_clients
        self.optimizer = optax.identity()
        if not shapes:
            return
        rate = settings.learning_rate or task.training.learning_rate
        self.optimizer = sgd(rate, settings.momentum, settings.weight_decay)
        self.module = Hypernetwork(
            shapes, task.num_clients, settings.embedding, settings.hidden, settings.layers
        )

    def init(self, key: jax.Array) -> Leaves:
        return tree.flatten(self.module.init(key, jnp.zeros(1, jnp.int32))) if self.shapes else {}

    def apply(self, phi: Leaves, ids: jax.Array) -> Leaves:
        """{path: [K, ...]}; an id of an empty slot (N) is generated like client N - 1 and used by nobody."""
        if not self.shapes:
            return {}
        known = jnp.minimum(ids, self.num_clients - 1)
        generated: Any = self.module.apply(tree.unflatten(phi), known)
        return dict(generated)

    def gradient(self, phi: Leaves, ids: jax.Array, cotangent: Leaves) -> Leaves:
        """sum_k J_k^T cotangent_k in one vjp; by linearity the sum of the clients' vjps."""
        if not self.shapes:
            return {}
        return jax.vjp(lambda phi: self.apply(phi, ids), phi)[1](cotangent)[0]


def _leaf_shapes(task: Task) -> dict[str, Any]:
    """{path: ShapeDtypeStruct} of the model's variables, without computing them."""
    example = jax.ShapeDtypeStruct((1, *task.input_shape), jnp.float32)
    variables = jax.eval_shape(task.model.init, jax.random.key(0), example)
    if set(variables) != {"params"}:
        raise UserError(
            f"model: its init returns the collections {sorted(variables)}, but only 'params' can be "
            "federated; replace layers that keep running statistics, such as BatchNorm by LayerNorm"
        )
    return tree.flatten(variables)
