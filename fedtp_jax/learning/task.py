"""What a method is built for: a model, its losses, and how it is trained."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch
from fedtp_jax.learning.augmentation import augmented
from fedtp_jax.learning.targets import Targets
from fedtp_jax.models.calls import arguments_of
from fedtp_jax.models.inputs import Inputs
from fedtp_jax.models.precision import layers_at

AUGMENTATION = 0x5EED  # tells its draws from dropout's, which are of the same key
STATISTICS = "batch_stats/"  # the collection of running statistics: leaves that no gradient reaches


class Output(NamedTuple):
    """What a model gives for a batch.

    Attributes:
      logits: [B, classes] (text: [B, T, classes]; in other tasks of each number or label).
      features: [B, F] (text: [B, T, F]) or None.
      statistics: {path: leaf} the running ones after the batch, in training.
    """

    logits: jax.Array
    features: Any
    statistics: Leaves


class Task(NamedTuple):
    """What a method is built for.

    Attributes:
      model: a Flax module with `__call__(inputs)`, which may take `train` and `mask` too.
      inputs: what the model reads.
      num_classes, num_clients: C, how many outputs the model has, and N.
      training, server: the clients' and the server's settings.
      class_weights: [C] weights of the training loss, or None.
      label_smoothing: share of a label that is spread evenly over all classes in the training loss.
      black: what a pixel of 0 is in the inputs, for each channel or for all.
      precision: dtype of the model's matrix products and activations.
      given: {path: leaf} of all of the model's variables, which it starts from in place of drawn ones.
      targets: what labels say, and their loss.
    """

    model: nn.Module
    inputs: Inputs
    num_classes: int
    num_clients: int
    training: config.Training
    server: config.Server = config.Server()
    class_weights: tuple[float, ...] | None = None
    black: tuple[float, ...] = (0.0,)
    label_smoothing: float = 0.0
    precision: Any = jnp.dtype(jnp.float32)
    given: Mapping[str, Any] | None = None
    targets: Targets = Targets()

    def check_classes(self, method: str, why: str) -> None:
        """Raise UserError where an example has no class of its own, which a method asks for."""
        if self.targets.kind != "classification":
            raise UserError(f"task.kind: {self.targets.kind}, but {method} {why}; choose another method")

    def init(self, key: jax.Array) -> dict[str, Any]:
        """The model's variables before any training, nested."""
        if self.given is not None:
            return tree.unflatten({path: jnp.asarray(leaf) for path, leaf in self.given.items()})
        x = jnp.zeros(self.inputs.example.shape, self.inputs.example.dtype)
        options = self.options(False, jnp.ones(len(x))) if isinstance(self.model, nn.Module) else {}
        with jax.numpy_dtype_promotion("standard"):  # as in `apply`
            variables: Any = self.model.init(key, x, **options)
        return dict(variables)

    def options(self, train: bool, mask: jax.Array | None = None) -> dict[str, Any]:
        """Those of these arguments that the model takes."""
        given = {"train": train, "mask": mask}
        return {name: given[name] for name in arguments_of(self.model)}

    def leaf_shapes(self) -> dict[str, Any]:
        """{path: ShapeDtypeStruct} of the model's variables, without computing them."""
        variables = jax.eval_shape(self.init, jax.random.key(0))
        if not set(variables) <= {"params", "batch_stats"}:
            raise UserError(
                f"model: its init returns the collections {sorted(variables)}, but only 'params' and "
                "'batch_stats' can be federated; keep no other state in the model"
            )
        if "batch_stats" in variables and "mask" not in arguments_of(self.model):
            raise UserError(
                "model: keeps running statistics, but its __call__ has no argument `mask` [B] to tell real "
                "examples from padding; add one and hand it to the batch norm layers"
            )
        return tree.flatten(variables)

    def feature_size(self, method: str) -> int:
        """F, the size of the model's features; UserError if it gives no feature vector per example."""
        leaves = self.leaf_shapes()
        rows = jax.ShapeDtypeStruct((3, *self.inputs.shape), self.inputs.example.dtype)
        features = jax.eval_shape(lambda w, x: self.forward(w, x).features, leaves, rows)
        if features is None or features.ndim != 2 or features.shape[0] != 3:
            gives = "none" if features is None else f"{list(features.shape)} for a batch of 3"
            raise UserError(
                f"{method}: needs one feature vector per example, but the model gives {gives}; choose "
                "another model, or sow one in your own: self.sow('intermediates', 'features', x), x [B, F]"
            )
        return int(features.shape[-1])

    def forward(
        self, leaves: Leaves, x: jax.Array, mask: jax.Array | None = None, key: jax.Array | None = None
    ) -> Output:
        """The model on x [B, ...]; with a key in training (augmentation, dropout, batch statistics), else in
        evaluation.

        Leaves, output and gradients are float32 whatever the precision of what happens in between.
        """
        if key is not None:
            x = augmented(self.training.augment, x, self.black, jax.random.fold_in(key, AUGMENTATION))
        logits, new = self.apply(leaves, x, mask, key)
        features = new.get("intermediates", {}).get("features", (None,))[0]
        statistics = tree.flatten({"batch_stats": new["batch_stats"]}) if "batch_stats" in new else {}
        return Output(*jax.tree.map(lambda a: a.astype(jnp.float32), (logits, features, statistics)))

    def apply(
        self, leaves: Leaves, x: jax.Array, mask: jax.Array | None = None, key: jax.Array | None = None
    ) -> Any:
        """(what the model returns, the collections that it wrote), as `forward` calls it."""
        parameters = {p: w.astype(self.precision) for p, w in leaves.items() if p.startswith("params/")}
        statistics = {p: w for p, w in leaves.items() if p.startswith(STATISTICS)}
        variables = tree.unflatten({**parameters, **statistics})
        rngs = {} if key is None else {"dropout": key}
        mutable = ["intermediates", "batch_stats"] if key is not None else ["intermediates"]
        # layer norms of lower precision rely on the promotion
        with jax.numpy_dtype_promotion("standard"), layers_at(self.precision):
            return self.model.apply(
                variables, x, rngs=rngs, mutable=mutable, **self.options(key is not None, mask)
            )

    def losses(self, logits: jax.Array, batch: Batch) -> jax.Array:
        """Loss of each example, [B] (text: and position, [B, T]); of classes smoothed, times its weight."""
        losses = self.targets.losses(logits, batch.y)
        if share := self.label_smoothing:
            even = jax.nn.logsumexp(logits, axis=-1) - logits.mean(-1)
            losses = (1 - share) * losses + share * even
        if self.class_weights is None:
            return losses
        return losses * jnp.asarray(self.class_weights, jnp.float32)[batch.y]

    def loss(self, logits: jax.Array, batch: Batch) -> jax.Array:
        """Mean over the batch's real examples (text: and positions); a batch without any gives 0.

        With class weights a plain mean too: not divided by the weights, as in the authors' code.
        """
        return masked_mean(self.losses(logits, batch), batch.mask)


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of values [B, ...] over the real examples, whatever the others' are; 0 without any."""
    each = values.reshape(len(values), -1).mean(-1)
    return jnp.sum(jnp.where(mask > 0, each, 0.0)) / jnp.maximum(jnp.sum(mask), 1.0)
