"""Makes docs/reference.md of the settings and their help: python docs/make_reference.py

Docstrings of Python, which docs/api.md names, are put in by mkdocstrings. A setting's help, default and
bounds are in no docstring but in its field's metadata, and its names in registries: the code is run for them.
"""

import dataclasses
import typing
from pathlib import Path

from fedtp_jax import config
from fedtp_jax.config import default_of, name_of
from fedtp_jax.config.convert import describe
from fedtp_jax.config.describe import first_line

INTRODUCTION = """\
# Settings

Every field of a configuration, by its dotted name, with its default; functions and classes are in
[Python](api.md). Made of the fields' help by `python docs/make_reference.py`; a test sees to it that it is up
to date. In the terminal `fedtp run --help` shows the same, `fedtp COMMAND --help` each command.
"""
HEAD = "| field | default | |\n| --- | --- | --- |"


def row(field, default, help):
    """A line of a table."""
    return "| `{}` | `{}` | {} |".format(*(str(cell).replace("|", r"\|") for cell in (field, default, help)))


def fields(kind, prefix, only=""):
    """A row of the table for every field of a section and of those in it."""
    for field in dataclasses.fields(kind):
        value, dotted, help = default_of(field), prefix + field.name, only + field.metadata["help"]
        if kinds := field.metadata.get("kinds"):
            yield row(f"{dotted}.name", name_of(value), f"{help}: {', '.join(kinds)}")
            for name, one in kinds.items():
                yield from fields(one, f"{dotted}.", f"{name}: ")
        elif isinstance(value, config.Optimizer):
            arguments = "".join(f", {name}={v}" for name, v in value.arguments.items())
            yield row(dotted, value.name + arguments, help)
        elif dataclasses.is_dataclass(value):
            yield from fields(type(value), f"{dotted}.")
        else:
            shown = "null" if value is None else list(value) if isinstance(value, tuple) else value
            yield row(dotted, shown, f"{help} ({describe(typing.get_type_hints(kind)[field.name])})")


def sections():
    """A table for each section and, where it is chosen by name, for each name."""
    for field in dataclasses.fields(config.SimulationConfig):
        kinds, help = field.metadata.get("kinds"), field.metadata["help"]
        if steps := field.metadata.get("chain"):
            yield f"## {field.name}\n\n{help.capitalize()}; by default none.\n"
            for name, kind in steps.items():
                yield f"**{name}**: {first_line(kind)}\n\n{HEAD}\n" + "\n".join(fields(kind, "")) + "\n"
            continue
        if field.default_factory is dataclasses.MISSING:
            yield f"## {field.name}\n\n{HEAD}\n{row(field.name, field.default, help)}\n"
            continue
        chosen = f"\n{help.capitalize()}, by default `{name_of(default_of(field))}`.\n" if kinds else ""
        yield f"## {field.name}\n{chosen}"
        for name, kind in (kinds or {"": field.default_factory}).items():
            yield (f"**{name}**: " if name else "") + f"{first_line(kind)}\n"
            if table := "\n".join(fields(kind, f"{field.name}.")):
                yield f"{HEAD}\n{table}\n"


def page():
    """The whole of reference.md."""
    return "\n".join([INTRODUCTION, *sections()])


if __name__ == "__main__":
    Path(__file__).with_name("reference.md").write_text(page(), encoding="utf-8")
