"""Data as the simulator holds it: flat arrays of examples, and per client a list of positions in them.

Nothing is copied per client: a million clients cost their index lists alone. Images stay uint8 until the
training step normalises them on the device.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fedtp_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Examples:
    """x: [M, ...] uint8 or float32; y: [M] int32 labels; client: [M] client of each example, or None."""

    x: np.ndarray = dataclasses.field(repr=False)
    y: np.ndarray = dataclasses.field(repr=False)
    client: np.ndarray | None = dataclasses.field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.y)


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows of a text, one character apart, without a copy of each.

    Example m reads text[s : s + length], s = start[m], and predicts the next character at each position:
    text[s + 1 : s + length + 1].

    text: [chars] uint8 codes; start: [M] int32; length: characters in a window; client: [M] int32 client of
    each example.
    """

    text: np.ndarray = dataclasses.field(repr=False)
    start: np.ndarray = dataclasses.field(repr=False)
    length: int
    client: np.ndarray = dataclasses.field(repr=False)

    def __len__(self) -> int:
        return len(self.start)

    @property
    def y(self) -> np.ndarray:
        """[M] int32 the character after each window, the last of its labels; computed anew at every call."""
        return self.text[self.start + self.length].astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Train and test examples of one task, in the canonical order of their source.

    uint8 images enter the model as (x / 255 - mean) / std, float inputs as (x - mean) / std, both on the
    last axis. Text enters it as codes, [length] int32.

    client_names: [N] what to call each client where the data has better names than numbers, else empty.
    class_weights: [num_classes] weights of the classes in the training loss, or None for 1.
    """

    name: str
    train: Examples | Windows
    test: Examples | Windows
    num_classes: int
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    source: str = ""
    client_names: tuple[str, ...] = ()
    class_weights: tuple[float, ...] | None = None

    @property
    def is_text(self) -> bool:
        """Whether the examples are windows of a text."""
        return isinstance(self.train, Windows)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return (self.train.length,) if isinstance(self.train, Windows) else self.train.x.shape[1:]

    def fingerprint(self) -> str:
        """16 hex digits that change with any example, label or their order."""
        digest = hashlib.sha256()
        for split in (self.train, self.test):
            if isinstance(split, Windows):
                digest.update(f"windows of {split.length}".encode())
                parts = (split.text, split.start)
            else:
                parts = (split.x, split.y)
            for part in parts:
                digest.update(f"{part.dtype}{part.shape}".encode())
                digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()[:16]


class Shards(Sequence[np.ndarray]):
    """N index lists in two flat arrays: client k holds indices[offsets[k]:offsets[k + 1]]."""

    def __init__(self, indices: np.ndarray, offsets: np.ndarray) -> None:
        self.indices = np.asarray(indices, np.int64)
        self.offsets = np.asarray(offsets, np.int64)

    @classmethod
    def from_lists(cls, lists: Sequence[np.ndarray]) -> "Shards":
        sizes = np.array([len(part) for part in lists], np.int64)
        indices = (
            np.concatenate([np.asarray(part, np.int64) for part in lists]) if len(lists) else np.zeros(0)
        )
        return cls(indices, np.concatenate([[0], np.cumsum(sizes)]))

    @property
    def sizes(self) -> np.ndarray:
        """[N] examples of each client."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, client):  # type: ignore[no-untyped-def]
        if isinstance(client, slice):
            return [self[k] for k in range(*client.indices(len(self)))]
        if not -len(self) <= client < len(self):
            raise IndexError(client)  # ends iteration
        client %= len(self)
        return self.indices[self.offsets[client] : self.offsets[client + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[k] for k in range(len(self)))

    def class_counts(self, labels: np.ndarray, num_classes: int) -> np.ndarray:
        """[N, num_classes] examples of each class that each client holds."""
        client = np.repeat(np.arange(len(self)), self.sizes)
        flat = client * num_classes + labels[self.indices]
        return np.bincount(flat, minlength=len(self) * num_classes).reshape(len(self), num_classes)


class Partition(NamedTuple):
    """Who holds which examples: positions in the data set's train and in its test examples."""

    train: Shards
    test: Shards

    @property
    def num_clients(self) -> int:
        return len(self.train)

    def fingerprint(self) -> str:
        """16 hex digits that change with any index of any client, or their order."""
        digest = hashlib.sha256()
        for shards in self:
            digest.update(shards.offsets.astype("<i8").tobytes())
            digest.update(shards.indices.astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    def check(self, data: Dataset) -> None:
        """Raise UserError unless every index exists in `data`, once at most per client."""
        for split, shards, count in (
            ("train", self.train, len(data.train)),
            ("test", self.test, len(data.test)),
        ):
            if len(shards) != self.num_clients:
                raise UserError(
                    f"partition: {self.num_clients} clients in train but {len(shards)} in test; "
                    "give every client a list in both (it may be empty)"
                )
            if len(shards.indices) and not 0 <= shards.indices.min() <= shards.indices.max() < count:
                raise UserError(
                    f"partition: {split} indices run from {shards.indices.min()} to {shards.indices.max()}, "
                    f"but {data.name} has {split} examples 0 to {count - 1}"
                )
            client = np.repeat(np.arange(len(shards)), shards.sizes)
            pairs, times = np.unique(client * count + shards.indices, return_counts=True)
            if (times > 1).any():
                twice = pairs[times > 1][0] // count
                raise UserError(f"partition: client {twice} lists a {split} example twice; list each once")
        if not len(self.train.indices):
            raise UserError("partition: no client has a training example; check the partition's settings")
