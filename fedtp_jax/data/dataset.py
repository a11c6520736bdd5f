"""A data set as the simulator holds it: flat arrays of train and test examples.

Images stay uint8 until the training step normalises them on the device.
"""

import dataclasses
import hashlib

import numpy as np


@dataclasses.dataclass(frozen=True)
class Examples:
    """Inputs, labels and, where the data names them, groups.

    x: [M, ...] uint8 or float32; y: [M] int32 labels; group: [M] int32, who each example belongs to (writer,
    role, hospital, device), or None.
    """

    x: np.ndarray = dataclasses.field(repr=False)
    y: np.ndarray = dataclasses.field(repr=False)
    group: np.ndarray | None = dataclasses.field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.y)


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows of a text, one character apart, without a copy of each.

    Example m reads text[s : s + length], s = start[m], and predicts the next character at each position:
    text[s + 1 : s + length + 1].

    text: [chars] uint8 codes; start: [M] int32; length: characters in a window; group: [M] int32 who each
    window belongs to.
    """

    text: np.ndarray = dataclasses.field(repr=False)
    start: np.ndarray = dataclasses.field(repr=False)
    length: int
    group: np.ndarray | None = dataclasses.field(default=None, repr=False)

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

    group_names: the groups' names as text, in the order of their numbers; empty where the data names none.
    class_names: the classes' names as text, in the order of their numbers; empty where these are their names.
    class_weights: [num_classes] weights of the classes in the training loss, or None for 1.
    """

    name: str
    train: Examples | Windows
    test: Examples | Windows
    num_classes: int
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    source: str = ""
    group_names: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    class_weights: tuple[float, ...] | None = None
    class_names: tuple[str, ...] = dataclasses.field(default=(), repr=False)

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
