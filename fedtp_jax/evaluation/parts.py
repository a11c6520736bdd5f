"""What measures are made of, on the devices: sums over a client's test examples, or its predictions.

Each part is of one client; leading axes [K, ...] are there outside the work. Of text every position of a
window is an example with a label of its own.
"""

from typing import NamedTuple, Protocol, Self

import jax
import jax.numpy as jnp

BINS = 15  # of confidences, each as wide: Guo et al. 2017, arXiv 1706.04599
TOP = 5


class Sizes(NamedTuple):
    """classes: C; most: how many examples of one client there are at most; label: shape of one."""

    classes: int
    most: int = 0
    label: tuple[int, ...] = ()


class Part(Protocol):
    """zero: of no example yet.

    add: with n more, given their logits [n, C], labels [n], and whether each is real [n] and not padding.
    """

    @classmethod
    def zero(cls, sizes: Sizes) -> Self: ...

    def add(self, logits: jax.Array, labels: jax.Array, real: jax.Array) -> Self: ...


class Confusion(NamedTuple):
    """counts [C, C + 1] uint32 of labels by predicted classes; the last column: predictions not finite."""

    counts: jax.Array

    @classmethod
    def zero(cls, sizes: Sizes) -> "Confusion":
        return cls(jnp.zeros((sizes.classes, sizes.classes + 1), jnp.uint32))

    def add(self, logits: jax.Array, labels: jax.Array, real: jax.Array) -> "Confusion":
        found = jnp.where(jnp.isfinite(logits.max(-1)), jnp.argmax(logits, -1), logits.shape[-1])
        return Confusion(self.counts.at[labels, found].add(real.astype(jnp.uint32)))


class Top(NamedTuple):
    """How many examples, and of how many the label is among the TOP classes; of equal ones the first are."""

    examples: jax.Array
    right: jax.Array

    @classmethod
    def zero(cls, sizes: Sizes) -> "Top":
        return cls(jnp.zeros((), jnp.uint32), jnp.zeros((), jnp.uint32))

    def add(self, logits: jax.Array, labels: jax.Array, real: jax.Array) -> "Top":
        own, classes = jnp.take_along_axis(logits, labels[:, None], -1), jnp.arange(logits.shape[-1])
        before = (logits > own) | ((logits == own) & (classes < labels[:, None]))
        right = (before.sum(-1) < TOP) & jnp.isfinite(own[:, 0]) & jnp.isfinite(logits.max(-1)) & real
        return Top(
            self.examples + jnp.sum(real, dtype=jnp.uint32), self.right + jnp.sum(right, dtype=jnp.uint32)
        )


class Bins(NamedTuple):
    """By bins of the confidence (the predicted class's probability): examples, right ones, its sum [BINS].

    Bin b is ]b / BINS, (b + 1) / BINS]. A confidence that is no number makes a sum none.
    """

    examples: jax.Array
    right: jax.Array
    confidence: jax.Array

    @classmethod
    def zero(cls, sizes: Sizes) -> "Bins":
        return cls(jnp.zeros(BINS, jnp.uint32), jnp.zeros(BINS, jnp.uint32), jnp.zeros(BINS))

    def add(self, logits: jax.Array, labels: jax.Array, real: jax.Array) -> "Bins":
        confidence = jax.nn.softmax(logits).max(-1)
        place = jnp.where(jnp.isnan(confidence), 0.0, jnp.clip(jnp.ceil(confidence * BINS) - 1, 0, BINS - 1))
        # sums of a mask: a scatter of floats has no order on a GPU
        inside = (place[:, None] == jnp.arange(BINS, dtype=place.dtype)) & real[:, None]
        right = inside & (jnp.argmax(logits, -1) == labels)[:, None]
        return Bins(
            self.examples + jnp.sum(inside, 0, dtype=jnp.uint32),
            self.right + jnp.sum(right, 0, dtype=jnp.uint32),
            self.confidence + jnp.where(inside, confidence[:, None], 0.0).sum(0),
        )


class Predictions(NamedTuple):
    """What a client has predicted: of so many examples labels [most], or [most, C], and logits [most, C]."""

    examples: jax.Array
    labels: jax.Array
    logits: jax.Array

    @classmethod
    def zero(cls, sizes: Sizes) -> "Predictions":
        labels = jnp.zeros((sizes.most, *sizes.label), jnp.float32 if sizes.label else jnp.int32)
        return cls(jnp.zeros((), jnp.int32), labels, jnp.zeros((sizes.most, sizes.classes)))

    def add(self, logits: jax.Array, labels: jax.Array, real: jax.Array) -> "Predictions":
        count = jnp.cumsum(real, dtype=jnp.int32)
        place = jnp.where(real, self.examples + count - 1, len(self.labels))
        return Predictions(
            self.examples + count[-1],
            self.labels.at[place].set(labels, mode="drop"),
            self.logits.at[place].set(logits, mode="drop"),
        )
