"""For every client lists of positions among the train and the test examples.

Nothing is copied per client: a million clients cost their index lists alone.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fedtp_jax.config.convert import show
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.array_checks import refuse_masked
from fedtp_jax.data.dataset import Dataset


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

    @classmethod
    def from_owners(cls, owner: np.ndarray, clients: int) -> "Shards":
        """The shards of `clients` clients from each example's owner [M]; indices ascend within a client."""
        order = np.argsort(owner, kind="stable")
        return cls(order, np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=clients))]))

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

    def counts_of(self, clients: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
        """[K, num_classes] examples of each class that the `clients` [K] hold; of 0 classes nothing."""
        if not num_classes:
            return np.zeros((len(clients), 0))
        return np.stack([np.bincount(labels[self[int(k)]], minlength=num_classes) for k in clients])

    def class_counts(self, labels: np.ndarray, num_classes: int) -> np.ndarray:
        """[N, num_classes] examples of each class that each client holds."""
        client = np.repeat(np.arange(len(self)), self.sizes)
        flat = client * num_classes + labels[self.indices]
        return np.bincount(flat, minlength=len(self) * num_classes).reshape(len(self), num_classes)


def _positions(split: str, client: int, part: Any) -> np.ndarray:
    """A client's positions, int64."""
    refuse_masked(f"{split}: client {client}", part)
    try:
        array = np.asarray(part if not isinstance(part, set | frozenset) else sorted(part))
    except (TypeError, ValueError):
        array = np.zeros((), object)
    if array.size == 0 and array.ndim == 1:
        return np.zeros(0, np.int64)
    whole = array.ndim == 1 and array.dtype.kind in "iu"
    if not whole or (array.dtype.kind == "u" and array.max() >= 2**63):
        hint = "np.flatnonzero(mask) of a mask" if array.dtype.kind == "b" else "such as [0, 7, 12]"
        raise UserError(
            f"{split}: client {client} has {show(part)} ({array.dtype}, shape {list(array.shape)}), expected "
            f"a list of positions, {hint}"
        )
    return array.astype(np.int64)


class Partition(NamedTuple):
    """Who holds which examples: positions in the data set's train and in its test examples.

    Attributes:
      train, test: a list of positions for each client.
      noise: [N] float32 std of the Gaussian noise on each client's normalised inputs, or None.
      validation: who is validated on which of the train examples, apart from those it trains on, or None.
    """

    train: Shards
    test: Shards
    noise: np.ndarray | None = None
    validation: Shards | None = None

    def __repr__(self) -> str:
        return f"Partition({count_of(len(self.train), 'client')}, {len(self.train.indices)} train examples)"

    @classmethod
    def from_lists(
        cls,
        train: Sequence[Sequence[int] | np.ndarray],
        test: Sequence[Sequence[int] | np.ndarray],
        validation: Sequence[Sequence[int] | np.ndarray] | None = None,
    ) -> "Partition":
        """The partition in which client k holds the train examples train[k] and the test examples test[k].

        With `validation` it is validated on the train examples validation[k], which are not in train[k].

        Raises UserError for what are not lists of positions, or not as many in all of them.
        """
        parts = []
        given = {"train": train, "test": test} | ({} if validation is None else {"validation": validation})
        for split, lists in given.items():
            if isinstance(lists, Mapping | str) or not isinstance(lists, Iterable):
                raise UserError(f"{split}: got {show(lists)}, expected a list of positions for each client")
            parts.append(Shards.from_lists([_positions(split, k, part) for k, part in enumerate(lists)]))
        for split, part in zip(given, parts, strict=True):
            if len(part) != len(parts[0]):
                raise UserError(
                    f"{split}: {len(part)} lists, but train has {len(parts[0])}; give every client one in "
                    "both (it may be empty)"
                )
        return cls(parts[0], parts[1], validation=parts[2] if len(parts) > 2 else None)

    @classmethod
    def from_owners(cls, train: np.ndarray, test: np.ndarray, clients: int) -> "Partition":
        """The partition among `clients` clients from the owner of each train [M] and test example [M']."""
        return cls(Shards.from_owners(train, clients), Shards.from_owners(test, clients))

    @property
    def num_clients(self) -> int:
        """N."""
        return len(self.train)

    @property
    def num_bytes(self) -> int:
        """Of the lists of indices."""
        shards = [part for part in (self.train, self.test, self.validation) if part is not None]
        return sum(part.indices.nbytes + part.offsets.nbytes for part in shards)

    def fingerprint(self) -> str:
        """16 hex digits that change with any index of any client, their order, or the noise."""
        digest = hashlib.sha256()
        for shards in (self.train, self.test):
            digest.update(shards.offsets.astype("<i8").tobytes())
            digest.update(shards.indices.astype("<i8").tobytes())
        if self.noise is not None:
            digest.update(b"noise" + self.noise.astype("<f4").tobytes())
        if self.validation is not None:
            digest.update(b"validation" + self.validation.offsets.astype("<i8").tobytes())
            digest.update(self.validation.indices.astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    def check(self, data: Dataset) -> None:
        """Raise UserError unless indices exist in `data`, once at most per client, and noise is lawful."""
        for split, shards, of in (
            ("train", self.train, "train"),
            ("test", self.test, "test"),
            ("validation", self.validation, "train"),
        ):
            if shards is None:
                continue
            count = len(data.test if of == "test" else data.train)
            if len(shards) != self.num_clients:
                raise UserError(
                    f"partition: {self.num_clients} clients in train but {len(shards)} in {split}; "
                    "give every client a list in both (it may be empty)"
                )
            if len(shards.indices) and not 0 <= shards.indices.min() <= shards.indices.max() < count:
                raise UserError(
                    f"partition: {split} indices run from {shards.indices.min()} to {shards.indices.max()}, "
                    f"but {data.name} has {of} examples 0 to {count - 1}; give positions among these"
                )
            pairs = _pairs(shards, count)
            if (np.diff(pairs) > 0).all():
                continue  # ascending lists, as most recipes make them, need no sorting
            pairs.sort()
            if (again := np.diff(pairs) == 0).any():
                twice = pairs[again.argmax()] // count
                raise UserError(f"partition: client {twice} lists a {split} example twice; list each once")
        if not len(self.train.indices):
            raise UserError("partition: no client has a training example; check the partition's settings")
        if self.validation is not None:
            self._check_apart(self.validation, len(data.train))
        if self.noise is not None:
            self._check_noise(self.noise)

    def _check_apart(self, validation: Shards, count: int) -> None:
        if not len(validation.indices):
            raise UserError(
                "partition: the lists of validation examples are empty; fill them, or leave them out"
            )
        both = np.intersect1d(_pairs(self.train, count), _pairs(validation, count))
        if len(both):
            client, example = divmod(int(both[0]), count)
            raise UserError(
                f"partition: client {client} trains on train example {example} and is validated on it; list "
                "it in one of the two"
            )

    def _check_noise(self, noise: np.ndarray) -> None:
        if noise.shape != (self.num_clients,):
            raise UserError(
                f"partition: noise of shape {noise.shape} for {self.num_clients} clients; give each one std"
            )
        bad = ~(np.isfinite(noise) & (noise >= 0))
        if bad.any():
            raise UserError(
                f"partition.noise: client {bad.argmax()} gets noise of std {noise[bad.argmax()]}; choose a "
                "finite float32 of at least 0"
            )


def _pairs(shards: Shards, count: int) -> np.ndarray:
    """[M] a number for each example of each client, of `count` examples."""
    return np.repeat(np.arange(len(shards)), shards.sizes) * count + shards.indices
