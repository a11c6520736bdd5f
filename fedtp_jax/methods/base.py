"""What a method is: a record of pure functions over a state, and the task it is made for."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fedtp_jax import config, tree
from fedtp_jax.engine import Batch, ClientWork
from fedtp_jax.errors import UserError
from fedtp_jax.tree import Leaves, Role

EMBEDDING = "client/embedding"  # path of a client's embedding among its rows
OPTIMIZER = "client/embedding_optimizer/"  # and of the leaves of that embedding's optimizer state
STATISTICS = "batch_stats/"  # the collection of running statistics: leaves that no gradient reaches


class State(NamedTuple):
    """Everything the server and the clients keep between rounds.

    Attributes:
      shared: {path: leaf} one copy.
      rows: what there is of every client: its personal leaves, its embedding and that one's optimizer state.
        Between rounds those of the whole population (`population.Population`); inside a method's functions
        {path: [K, ...]} of K clients.
      generator: the hypernetwork's parameters, {} where nothing is generated.
      generator_opt, server_opt: states of its optimizer and of the server's.
    """

    shared: Leaves
    rows: Any
    generator: Leaves
    generator_opt: Any
    server_opt: Any


class Upload(NamedTuple):
    """Sums over the cohort of what clients send; `loss` and `examples` count every local step's examples."""

    shared: Leaves
    weight: jax.Array
    loss: jax.Array
    examples: jax.Array
    excluded: jax.Array


class Kept(NamedTuple):
    """Per client: its new personal leaves, p_k * (sent - returned) of the generated ones, 1.0 if excluded."""

    personal: Leaves
    cotangent: Leaves
    excluded: jax.Array


class Received(NamedTuple):
    """What a wave of K clients leaves behind at the server.

    rows: {path: [K, ...]} new personal leaves; generator: gradient of the hypernetwork, summed over clients;
    embeddings: {EMBEDDING: [K, E]} gradients of the clients' embeddings, {} where there are none.
    """

    rows: Leaves
    generator: Leaves
    embeddings: Leaves


class Output(NamedTuple):
    """What a model gives for a batch.

    logits [B, classes] (text: [B, T, classes]); features [B, F] (text: [B, T, F]) or None; statistics:
    {path: leaf} the running ones after the batch, in training.
    """

    logits: jax.Array
    features: Any
    statistics: Leaves


class Method(NamedTuple):
    """A method as pure functions, on a State that holds the rows of some K clients.

    Attributes:
      roles: {path: role} of every leaf that clients train or run.
      init: (key, ids [K]) -> State with the initial rows of these clients, each a function of (key, id).
      realize: (generator, own) -> {path: [K, ...]}: the leaves that come of what K clients own.
      send: state -> (shared, {path: [K, ...]}): what its clients start a round from.
      work: the local training.
      receive: (state, kept) -> Received: after a wave of clients.
      aggregate: (state, upload, gradient of the generator) -> State: after the round's last wave.
      step_embeddings: (rows, gradients [K, E]) -> rows: the server's step on K clients' embeddings.
      predict: (leaves, inputs [B, ...]) -> Output; given a mask and a key as in training, as Task.forward.
      class_counts: whether the local training asks how many examples of each class a client holds.
      hypernetwork: settings of the one that generates leaves, where one does.
    """

    roles: Mapping[str, Role]
    init: Callable[[jax.Array, jax.Array], State]
    realize: Callable[[Leaves, Leaves], Leaves]
    send: Callable[[State], tuple[Leaves, Leaves]]
    work: ClientWork
    receive: Callable[[State, Kept], Received]
    aggregate: Callable[[State, Upload, Leaves], State]
    step_embeddings: Callable[[Leaves, jax.Array], Leaves]
    predict: Callable[..., Output]
    class_counts: bool = False
    hypernetwork: config.Hypernetwork = config.Hypernetwork()

    def variables(self, state: State) -> tuple[Leaves, Leaves]:
        """(shared, {path: [K, ...]}): what the K clients of the state's rows would run now.

        The one answer to that question, for evaluation, export and new clients.
        """
        return state.shared, self.realize(state.generator, own(state.rows))


def own(rows: Leaves) -> Leaves:
    """What belongs to the clients themselves: their rows but for the server's optimizer of the embeddings."""
    return {path: leaf for path, leaf in rows.items() if not path.startswith(OPTIMIZER)}


class Task(NamedTuple):
    """What a method is built for.

    Attributes:
      model: a Flax module with `__call__(inputs, train)` and perhaps `mask`.
      example: shape and dtype of a batch of one input, [1, ...].
      num_classes, num_clients: C and N.
      training, server: the clients' and the server's settings.
      class_weights: [C] weights of the training loss, or None.
      precision: dtype of the model's matrix products and activations.
    """

    model: nn.Module
    example: jax.ShapeDtypeStruct
    num_classes: int
    num_clients: int
    training: config.Training
    server: config.Server = config.Server()
    class_weights: tuple[float, ...] | None = None
    precision: Any = jnp.dtype(jnp.float32)

    def leaf_shapes(self) -> dict[str, Any]:
        """{path: ShapeDtypeStruct} of the model's variables, without computing them."""
        variables = jax.eval_shape(self.model.init, jax.random.key(0), self.example)
        if not set(variables) <= {"params", "batch_stats"}:
            raise UserError(
                f"model: its init returns the collections {sorted(variables)}, but only 'params' and "
                "'batch_stats' can be federated; keep no other state in the model"
            )
        if "batch_stats" in variables and not self._takes_mask:
            raise UserError(
                "model: keeps running statistics, but its __call__ has no argument `mask` [B] to tell real "
                "examples from padding; add one and hand it to the batch norm layers"
            )
        return tree.flatten(variables)

    def feature_size(self, method: str) -> int:
        """F, the size of the model's features; UserError if it gives no feature vector per example."""
        leaves = self.leaf_shapes()
        features = jax.eval_shape(lambda w, x: self.forward(w, x).features, leaves, self.example)
        if features is None or features.ndim != 2:
            gives = "none" if features is None else "one for each position of a text"
            raise UserError(
                f"{method}: needs one feature vector per example, but the model gives {gives}; choose vit, "
                "cnn or cnn_bn, or sow one in your own: self.sow('intermediates', 'features', x), x [B, F]"
            )
        return int(features.shape[-1])

    def forward(
        self, leaves: Leaves, x: jax.Array, mask: jax.Array | None = None, key: jax.Array | None = None
    ) -> Output:
        """The model on x [B, ...]; with a key in training (dropout, batch statistics), else in evaluation.

        Leaves, output and gradients are float32 whatever the precision of what happens in between.
        """
        parameters = {p: w.astype(self.precision) for p, w in leaves.items() if p.startswith("params/")}
        statistics = {p: w for p, w in leaves.items() if p.startswith(STATISTICS)}
        variables = tree.unflatten({**parameters, **statistics})
        if jnp.issubdtype(x.dtype, jnp.floating):
            x = x.astype(self.precision)
        options: dict[str, Any] = {"mask": mask} if self._takes_mask else {}
        rngs = {} if key is None else {"dropout": key}
        mutable = ["intermediates", "batch_stats"] if key is not None else ["intermediates"]
        with jax.numpy_dtype_promotion("standard"):  # layer norms of lower precision rely on it
            logits, new = self.model.apply(
                variables, x, train=key is not None, rngs=rngs, mutable=mutable, **options
            )
        features = new.get("intermediates", {}).get("features", (None,))[0]
        statistics = tree.flatten({"batch_stats": new["batch_stats"]}) if "batch_stats" in new else {}
        return Output(*jax.tree.map(lambda a: a.astype(jnp.float32), (logits, features, statistics)))

    def losses(self, logits: jax.Array, batch: Batch) -> jax.Array:
        """Cross-entropy of each label, [B] (text: [B, T]), times its class's weight."""
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.y)
        if self.class_weights is None:
            return losses
        return losses * jnp.asarray(self.class_weights, jnp.float32)[batch.y]

    def cross_entropy(self, logits: jax.Array, batch: Batch) -> jax.Array:
        """Mean over the batch's real examples (text: and positions); a batch without any gives 0.

        With class weights a plain mean too: not divided by the weights, as in the authors' code.
        """
        return masked_mean(self.losses(logits, batch), batch.mask)

    @property
    def _takes_mask(self) -> bool:
        return "mask" in inspect.signature(type(self.model).__call__).parameters


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of values [B, ...] over the real examples, whatever the others' are; 0 without any."""
    each = values.reshape(len(values), -1).mean(-1)
    return jnp.sum(jnp.where(mask > 0, each, 0.0)) / jnp.maximum(jnp.sum(mask), 1.0)
