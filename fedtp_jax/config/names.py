"""Names of fields: what is told of one that a section lacks, in a file and in Python alike."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fedtp_jax.config.fields import Optimizer
from fedtp_jax.config.simulation import SimulationConfig, default_of
from fedtp_jax.core.errors import UserError, nearest

OF_OPTIMIZERS = "momentum", "nesterov", "b1", "b2", "eps"  # arguments that users look for beside the others
SHORT = {"lr": "learning_rate"}  # what users of other libraries type
Kinds = Mapping[str, type] | None  # those among which a section is chosen by name


def check_names(kind: type, names: Iterable[Any], where: str, kinds: Kinds = None) -> None:
    """Raise UserError for a name that is no field of `kind`; `where`: its dotted name and a dot, or empty."""
    fields = _fields(kind)
    for name in names:
        if name in fields:
            continue
        owners = [other for other, one in (kinds or {}).items() if name in _fields(one)]
        if owners:
            chosen = next(other for other, one in (kinds or {}).items() if one is kind)
            allowed = f"its fields are: {', '.join(fields)}" if fields else "it has no fields"
            raise UserError(
                f"{where}{name}: a field of {', '.join(owners)}, but {where}name is {chosen!r} ({allowed})"
            )
        known = f"the fields of {where.rstrip('.')}" if where else "the sections"
        hint = _hint(kind, name, where)
        raise UserError(f"{where}{name}: unknown field{hint}; {known} are: {', '.join(fields) or 'none'}")


def _hint(kind: type, name: Any, where: str) -> str:
    """What was meant, as far as that can be guessed."""
    fields = _fields(kind)
    hint = "" if where else _elsewhere(name, fields)
    if name not in OF_OPTIMIZERS:
        hint = hint or nearest(SHORT.get(name, str(name)), fields)
    if not hint and "optimizer" in fields:
        hint = f" (an argument of the optimizer? then {where}optimizer.{name})"
    if not hint and kind is Optimizer:
        hint = f" (an argument of optax's? then Optimizer(name, {{{name!r}: ...}}))"
    return hint


def _fields(kind: type) -> dict[str, "dataclasses.Field[Any]"]:
    """A section's own first, then what every section of its kind has."""
    fields = dataclasses.fields(kind)
    return {field.name: field for common in (False, True) for field in fields if field.kw_only is common}


def _elsewhere(name: Any, sections: Mapping[str, Any]) -> str:
    """The hint for a field that was asked for without its section."""
    for section, field in sections.items():
        kinds = [*(field.metadata.get("kinds") or {}).values()] or [type(default_of(field))]
        for kind in filter(dataclasses.is_dataclass, kinds):
            if SHORT.get(name, name) in {inner.name for inner in dataclasses.fields(kind)}:
                return f" (did you mean '{section}.{SHORT.get(name, name)}'?)"
    return ""


def check_calls() -> None:
    """From now on a section that Python makes with wrong names tells what a file with them is told."""
    told: set[type] = set()
    for kind, where, kinds in [*_sections(SimulationConfig, "", None), (Optimizer, "optimizer.", None)]:
        if kind not in told:
            told.add(kind)
            _check_call(kind, where, kinds)


def _sections(kind: type, where: str, kinds: Kinds) -> Iterator[tuple[type, str, Kinds]]:
    """(dataclass, its dotted name and a dot, the kinds it is one of) of a section and all in it."""
    yield kind, where, kinds
    for field in dataclasses.fields(kind):
        chosen = field.metadata.get("kinds") or field.metadata.get("chain")
        inner = type(default_of(field))
        for one in chosen.values() if chosen else [inner] * dataclasses.is_dataclass(inner):
            if one is not Optimizer:
                yield from _sections(one, f"{where}{field.name}.", chosen)


def _check_call(kind: Any, where: str, kinds: Kinds) -> None:
    """Have `kind` look at the names it is called with."""
    made, fields = kind.__init__, _fields(kind)
    in_order = [name for name, field in fields.items() if not field.kw_only]

    @functools.wraps(made)
    def init(self: Any, *values: Any, **named: Any) -> None:
        check_names(kind, named, where, kinds)
        if len(values) > len(in_order):
            raise UserError(
                f"{kind.__name__}: got {len(values)} values without names, more than it has fields; give "
                f"fields by name; they are: {', '.join(fields) or 'none'}"
            )
        if twice := set(in_order[: len(values)]) & set(named):
            raise UserError(
                f"{where}{min(twice)}: given twice, by its name and by its place; give fields by name"
            )
        made(self, *values, **named)

    kind.__init__ = init
