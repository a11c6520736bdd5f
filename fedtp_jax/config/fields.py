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
    """Any optimizer of optax by its name there, with its arguments; its learning rate stands beside it."""

    name: str = "sgd"
    arguments: Mapping[str, float | int | bool] = dataclasses.field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.name, tuple(sorted(self.arguments.items()))))


def optimizer(name: str, help: str, **arguments: float | int | bool) -> Any:
    """A field that is an Optimizer, by default optax's `name` with `arguments`."""
    return dataclasses.field(
        default_factory=lambda: Optimizer(name, arguments), metadata={"help": help, "optimizer": True}
    )
