"""What examples are to be given, a class, numbers or several labels, and the loss of what a model gives."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedtp_jax.config.task import Loss, TaskKind


class Targets(NamedTuple):
    """What the labels of a task say.

    Attributes:
      kind: "classification": y [B, ...] are classes; "regression": [B, C] numbers, with mean 0 and std 1 over
        the train examples of all; "multilabel": [B, C] which of C labels hold, 1 or 0.
      loss: of an example.
      mean, std: [C] of numbers as the data have them; none of other kinds.
    """

    kind: TaskKind = "classification"
    loss: Loss = "cross_entropy"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def label_shape(self, classes: int) -> tuple[int, ...]:
        """The shape of an example's label, where a model has so many outputs."""
        return () if self.kind == "classification" else (classes,)

    @property
    def dtype(self) -> type:
        """Of labels on the devices."""
        return jnp.int32 if self.kind == "classification" else jnp.float32

    def losses(self, outputs: jax.Array, y: jax.Array) -> jax.Array:
        """[B, ...] of each label y, or [B] the mean over an example's C numbers or labels.

        `outputs` [B, ..., C] of a model. Of numbers squared or absolute errors, in units of their std; of
        several labels the cross-entropy of each.
        """
        if self.loss == "cross_entropy":
            return cross_entropies(outputs, y)
        if self.loss == "binary_cross_entropy":
            return jnp.mean(jax.nn.softplus(outputs) - y * outputs, -1)
        errors = outputs - y
        return jnp.mean(errors**2 if self.loss == "squared_error" else jnp.abs(errors), -1)

    def measured(self, outputs: jax.Array, y: jax.Array) -> jax.Array:
        """What the headline counts, of each label [B, ...]: bool, is it right, or a number's absolute error.

        What is not finite is wrong, and infinitely so.
        """
        finite = jnp.isfinite(outputs)
        if self.kind == "regression":
            errors = jnp.abs(outputs - y) * jnp.asarray(self.std, jnp.float32)
            return jnp.where(finite, errors, jnp.inf)
        if self.kind == "multilabel":
            return ((outputs > 0) == (y > 0)) & finite
        right = jnp.argmax(outputs, -1) == y
        return right & jnp.isfinite(cross_entropies(outputs, y))  # argmax of NaNs is class 0


def cross_entropies(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """-log softmax(logits)[label] [...], of logits [..., classes] and labels [...] from 0 to classes - 1."""
    # picked by its index, the label's logit would have a scatter for a gradient: a kernel of its own on GPUs,
    # and a sort on those that are to be deterministic
    is_label = labels[..., None] == jnp.arange(logits.shape[-1])
    of_label = jnp.sum(jnp.where(is_label, logits, 0.0), axis=-1)
    return jax.nn.logsumexp(logits, axis=-1) - of_label
