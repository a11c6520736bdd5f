"""A data set as the simulator holds it: flat arrays of train and test examples.

Images stay uint8 until the training step normalises them on the device.
"""

import dataclasses
import hashlib

import numpy as np


@dataclasses.dataclass(frozen=True)
class Examples:
    """Inputs, labels and, where the data names them, groups.

    x: [M, ...] uint8, float32, or int32 ids of tokens; y: [M] int32 labels, [M, C] float64 numbers, or
    [M, C] uint8 of which labels hold; group: [M] int32, who each example belongs to (writer, role, hospital,
    device), or None.
    """

    x: np.ndarray = dataclasses.field(repr=False)
    y: np.ndarray = dataclasses.field(repr=False)
    group: np.ndarray | None = dataclasses.field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.y)


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows of a text of characters or tokens, without a copy of each.

    Example m reads text[s : s + length], s = start[m], and predicts what follows each position:
    text[s + 1 : s + length + 1].

    text: [characters] uint8 codes, or [tokens] int32 ids; start: [M] int32; length: of a window; group: [M]
    int32 who each window belongs to, or None.
    """

    text: np.ndarray = dataclasses.field(repr=False)
    start: np.ndarray = dataclasses.field(repr=False)
    length: int
    group: np.ndarray | None = dataclasses.field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.start)

    @property
    def y(self) -> np.ndarray:
        """[M] int32 what follows each window, the last of its labels; computed anew at every call."""
        return self.text[self.start + self.length].astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Train and test examples of one task, in the canonical order of their source.

    uint8 images enter the model as (x / 255 - mean) / std, float inputs as (x - mean) / std, both on the
    last axis. Text and tokens enter it as codes or ids, [length] int32.

    group_names: the groups' names as text, in the order of their numbers; empty where the data names none.
    class_names: the classes' names as text, in the order of their numbers; empty where these are their names.
    class_weights: [num_classes] weights of the classes in the training loss, or None for 1.
    ids: how many ids of tokens there are, where x are tokens; else 0.
    padding: the id that fills texts of tokens up behind their end, or None.
    task: what y says; of others than "classification" num_classes is C, how many numbers or labels.
    target_mean, target_std: [C] of the train examples' numbers, by which the loss sees them; else empty.
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
    ids: int = 0
    padding: int | None = None
    task: str = "classification"
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()

    @property
    def strata(self) -> tuple[np.ndarray, np.ndarray, int]:
        """(of train [M], of test [M'], how many): the classes or, where there are none, one of all examples.

        By them examples are set aside, and counted in tables of who holds what.
        """
        if self.task == "classification":
            return self.train.y, self.test.y, self.num_classes
        return np.zeros(len(self.train), np.int32), np.zeros(len(self.test), np.int32), 1

    @property
    def strata_names(self) -> tuple[str, ...]:
        """What tables call them."""
        if self.task != "classification":
            return ("examples",)
        return self.class_names or tuple(map(str, range(self.num_classes)))

    @property
    def is_text(self) -> bool:
        """Whether the examples are windows of a text."""
        return isinstance(self.train, Windows)

    @property
    def kind(self) -> str:
        """ "image", "series", "features", "tokens", "text" or, of more axes than images have, "array"."""
        if self.is_text:
            return "text"
        return "tokens" if self.ids else kind_of(self.input_shape)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return (self.train.length,) if isinstance(self.train, Windows) else self.train.x.shape[1:]

    def learnt(self, y: np.ndarray) -> np.ndarray:
        """Labels as the loss sees them: int32 classes, or float32, of numbers (y - mean) / std."""
        if self.task == "classification":
            return y.astype(np.int32)
        if self.task == "multilabel":
            return y.astype(np.float32)
        return ((y - np.asarray(self.target_mean)) / np.asarray(self.target_std)).astype(np.float32)

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


def kind_of(shape: tuple[int, ...]) -> str:
    """The kind of numbers of which one example has this shape."""
    return {1: "features", 2: "series", 3: "image"}.get(len(shape), "array")
