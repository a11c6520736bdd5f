"""How a setting is declared: default, bounds, one line of help."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def option(default: T, help: str, **bounds: Any) -> T:
    """A field with a default, one line of help, and bounds among gt, ge, lt, le (numbers)."""
    return dataclasses.field(default=default, metadata={"help": help, **bounds})


def section(kind: Any, help: str, kinds: dict[str, type] | None = None) -> Any:
    """A field that is itself a dataclass; `kinds` maps the names it may be chosen by to dataclasses."""
    return dataclasses.field(default_factory=kind, metadata={"help": help, "kinds": kinds})


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Any optimizer of optax by its name there, with its arguments; its learning rate stands beside it.

    Where an optimizer is asked for, Python may also give a function: learning rate -> GradientTransformation.
    """

    name: str = "sgd"
    arguments: Mapping[str, float | int | bool] = dataclasses.field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.name, tuple(sorted(self.arguments.items()))))


@dataclasses.dataclass(frozen=True)
class Own:
    """A part that was made in Python and that no file can hold; `of` is its text, by which it is compared."""

    of: str
    value: Any = dataclasses.field(compare=False, repr=False)

    @property
    def name(self) -> str:
        """What it is called in results: a function's name, else that of its class."""
        return str(getattr(self.value, "__name__", type(self.value).__name__))

    @classmethod
    def part(cls, value: Any) -> "Own":
        """`value` by its name in its module, or by its repr."""
        name = getattr(value, "__qualname__", None)
        text = f"{value.__module__}.{name}" if name else " ".join(repr(value).split())
        if fingerprint := getattr(value, "fingerprint", None):
            text = f"{type(value).__name__} {fingerprint()}"
        return cls(text if " at 0x" not in text else type(value).__qualname__, value)


def optimizer(name: str, help: str, **arguments: float | int | bool) -> Any:
    """A field that is an Optimizer, by default optax's `name` with `arguments`."""
    return dataclasses.field(
        default_factory=lambda: Optimizer(name, arguments), metadata={"help": help, "optimizer": True}
    )
