"""How a setting is declared: default, bounds, one line of help."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from fedtp_jax.core.identity import identity
from fedtp_jax.core.importable import call

T = TypeVar("T")
Clients = tuple[int | str, ...]  # by number or by name
Cohorts = tuple[Clients, ...]
# what may be chosen by: columns of metrics.csv, of validation shards alone
ValidationMetric = Literal[
    "val_accuracy",
    "val_client_mean",
    "val_worst_decile",
    "val_loss",
    "val_balanced_accuracy",
    "val_balanced_accuracy_client_mean",
    "val_balanced_accuracy_worst_decile",
    "val_f1_macro",
    "val_f1_macro_client_mean",
    "val_f1_macro_worst_decile",
    "val_auroc",
    "val_auroc_client_mean",
    "val_auroc_worst_decile",
    "val_top5",
    "val_top5_client_mean",
    "val_top5_worst_decile",
    "val_ece",
    "val_ece_client_mean",
    "val_ece_worst_decile",
    "val_exact_match",
    "val_exact_match_client_mean",
    "val_exact_match_worst_decile",
    "val_mae",
    "val_mae_client_mean",
    "val_mae_worst_decile",
    "val_rmse",
    "val_rmse_client_mean",
    "val_rmse_worst_decile",
    "val_r2",
    "val_r2_client_mean",
    "val_r2_worst_decile",
]


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
    """A part of the user's own: made in Python, so that no file can hold it, or named by a configuration.

    of: what it is called in messages, "Small(width=64)"; identity: what it is, as core.identity tells it, of
    one that is named without its arguments; named: the section that names it, importable name and arguments.
    """

    of: str = dataclasses.field(compare=False)
    identity: str
    value: Any = dataclasses.field(compare=False, repr=False)
    named: Mapping[str, Any] | None = None

    def __hash__(self) -> int:
        return hash((self.identity, repr(self.named)))

    @property
    def name(self) -> str:
        """What it is called in results: its importable name, else a function's name or that of its class."""
        if self.named:
            return str(self.named["name"])
        return str(getattr(self.value, "__name__", type(self.value).__name__))

    @property
    def section(self) -> dict[str, Any]:
        """It as a file holds it, or can only note that there was one."""
        return {**(self.named or {"name": self.name, "of": self.of}), "identity": self.identity}

    def call(self, field: str, *given: Any) -> Any:
        """What it makes of what it is given, where it is a function; UserError for what it raises."""
        return call(self.value, self.of, field, *given)

    @classmethod
    def part(cls, value: Any) -> "Own":
        """`value`, called by its name, or by its class and what it was made with."""
        return cls(_called(value), identity(value), value)


Metrics = tuple[str | Own, ...]  # measures by name, and functions of the user's own


def _called(value: Any) -> str:
    """Its name, or its class and what it was made with."""
    if isinstance(name := getattr(value, "__qualname__", None), str):
        return name.replace("<locals>.", "").replace("<lambda>", "lambda")
    kind = type(value).__name__
    try:
        if dataclasses.is_dataclass(value):
            chosen = [f for f in dataclasses.fields(value) if f.init and f.name not in ("parent", "name")]
            words = [f"{f.name}={_short(getattr(value, f.name))}" for f in chosen if _differs(value, f)]
            return f"{kind}({', '.join(words)})"
        text = " ".join(repr(value).split())
    except Exception:  # of the user's own repr
        return kind
    return text if len(text) <= 80 and " at 0x" not in text and not hasattr(value, "fingerprint") else kind


def _short(value: Any) -> str:
    text = repr(value)
    return text if " at 0x" not in text else str(getattr(value, "__name__", type(value).__name__))


def _differs(value: Any, field: "dataclasses.Field[Any]") -> bool:
    """Whether a field is not what it is by default."""
    if field.default_factory is not dataclasses.MISSING:
        return repr(getattr(value, field.name)) != repr(field.default_factory())
    return repr(getattr(value, field.name)) != repr(field.default)


def optimizer(name: str, help: str, **arguments: float | int | bool) -> Any:
    """A field that is an Optimizer, by default optax's `name` with `arguments`."""
    return dataclasses.field(
        default_factory=lambda: Optimizer(name, arguments), metadata={"help": help, "optimizer": True}
    )
