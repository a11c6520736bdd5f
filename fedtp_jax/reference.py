"""The configuration's reference for the terminal, made from the declarations in config.py."""

import dataclasses
import inspect
import typing
from typing import Any

from rich.table import Table

from fedtp_jax import config
from fedtp_jax.config import SimulationConfig, default_of, name_of
from fedtp_jax.settings import describe

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
        elif field.default_factory is not dataclasses.MISSING:
            lines.append(f"\n{field.name}: {first_line(field.default_factory)}")
            lines += [f"    {line}" for line in _field_lines(field.default_factory, f"{field.name}.")]
        else:
            lines.append(f"\n{field.name}={field.default}: {field.metadata['help']}")
    return "\n".join(lines)


def list_parts(what: str) -> Table:
    """A table of the names that a section may be chosen by."""
    section = {"methods": "method", "models": "model", "datasets": "data", "partitions": "partition"}[what]
    table = Table(box=None, pad_edge=False, title=f"{section}.name=...", title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("what it is")
    table.add_column("fields and defaults", overflow="fold")
    for name, kind in KINDS[what].items():
        table.add_row(f"[bold]{name}[/bold]", first_line(kind), "\n".join(_defaults(kind, "")))
    return table


def first_line(kind: Any) -> str:
    """The first paragraph of a docstring."""
    return (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")


def _defaults(kind: Any, prefix: str) -> list[str]:
    lines = []
    for field in dataclasses.fields(kind):
        if field.default_factory is not dataclasses.MISSING:
            lines += _defaults(field.default_factory, f"{field.name}.")
        else:
            lines.append(f"{prefix}{field.name}={_show(field.default)}")
    return lines


def _field_lines(kind: Any, prefix: str) -> list[str]:
    hints = typing.get_type_hints(kind)
    lines = []
    for field in dataclasses.fields(kind):
        if field.default_factory is not dataclasses.MISSING:
            lines += _field_lines(field.default_factory, f"{prefix}{field.name}.")
        else:
            allowed = describe(hints[field.name])
            lines.append(f"{prefix}{field.name}={_show(field.default)}  {field.metadata['help']} ({allowed})")
    return lines


def _show(default: Any) -> str:
    if default is None:
        return "null"
    return "[" + ", ".join(default) + "]" if isinstance(default, tuple) else str(default)
