"""The configuration's reference for the terminal, made from the declarations in config/."""

import dataclasses
import inspect
import typing
from typing import Any

from fedtp_jax import config
from fedtp_jax.config import Optimizer, SimulationConfig, default_of, name_of
from fedtp_jax.config.convert import describe

KINDS = {
    "methods": config.METHODS,
    "models": config.MODELS,
    "datasets": config.DATASETS,
    "partitions": config.PARTITIONS,
}


def describe_fields() -> str:
    """Every section and field with default, meaning and kind, as plain text."""
    lines = ["Settings, as section.field=value or as YAML sections:"]
    for field in dataclasses.fields(SimulationConfig):
        kinds = field.metadata.get("kinds")
        if kinds:
            default = name_of(default_of(field))
            lines.append(f"\n{field.name}: {field.metadata['help']}; {field.name}.name={default}")
            for name, kind in kinds.items():
                lines.append(f"  {name}: {first_line(kind)}")
                lines += [f"    {line}" for line in _field_lines(kind, f"{field.name}.")]
        elif steps := field.metadata.get("chain"):
            lines.append(f"\n{field.name}: {field.metadata['help']}; {field.name}=[{{name: ...}}, ...]")
            for name, kind in steps.items():
                lines.append(f"  {name}: {first_line(kind)}")
                lines += [f"    {line}" for line in _field_lines(kind, "")]
        elif field.default_factory is not dataclasses.MISSING:
            lines.append(f"\n{field.name}: {first_line(field.default_factory)}")
            lines += [f"    {line}" for line in _field_lines(field.default_factory, f"{field.name}.")]
        else:
            lines.append(f"\n{field.name}={field.default}: {field.metadata['help']}")
    return "\n".join(lines)


def list_parts(what: str) -> str:
    """The names that a section may be chosen by, a line each."""
    section = {"methods": "method", "models": "model", "datasets": "data", "partitions": "partition"}[what]
    width = max(map(len, KINDS[what]))
    lines = [f"{name:{width}}  {first_line(kind)}" for name, kind in KINDS[what].items()]
    choose = f"Choose by {section}.name; `fedtp run --help` has the fields and defaults of each."
    own = f"Your own by an importable name: {section}.name=package.module:name (docs/own_parts.md)."
    return "\n".join([*lines, "", choose, own])


def first_line(kind: Any) -> str:
    """The first paragraph of a docstring."""
    return (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")


def _field_lines(kind: Any, prefix: str) -> list[str]:
    hints = typing.get_type_hints(kind)
    lines = []
    for field in dataclasses.fields(kind):
        default, help, dotted = default_of(field), field.metadata["help"], f"{prefix}{field.name}"
        kinds = field.metadata.get("kinds")
        if kinds:
            lines.append(f"{dotted}.name={name_of(default)}  {help}")
            for name, one in kinds.items():
                lines.append(f"  {name}: {first_line(one)}")
                lines += [f"    {line}" for line in _field_lines(one, f"{dotted}.")]
        elif dataclasses.is_dataclass(default) and not isinstance(default, Optimizer):
            lines += _field_lines(type(default), f"{dotted}.")
        else:
            lines.append(f"{dotted}={_show(default)}  {help} ({describe(hints[field.name])})")
    return lines


def _show(default: Any) -> str:
    if default is None:
        return "null"
    if isinstance(default, Optimizer):
        arguments = "".join(f", {name}: {value}" for name, value in default.arguments.items())
        return f"{{name: {default.name}{arguments}}}"
    return "[" + ", ".join(default) + "]" if isinstance(default, tuple) else str(default)
