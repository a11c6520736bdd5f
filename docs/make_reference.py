"""Makes docs/reference.md of the docstrings and the settings: python docs/make_reference.py"""

import dataclasses
import functools
import inspect
import re
import typing
from pathlib import Path

import fedtp_jax
from fedtp_jax import config, methods, trackers
from fedtp_jax.config import default_of, name_of
from fedtp_jax.config.convert import describe
from fedtp_jax.config.describe import first_line

INTRODUCTION = """\
# Reference

Made of the docstrings by `python docs/make_reference.py`; a test sees to it that it is up to date. Shapes are
in brackets: N clients, K of a cohort, B of a batch, C classes, F features, E of an embedding. In the terminal
`fedtp run --help` shows the settings, `fedtp COMMAND --help` each command.
"""
HEAD = "| field | default | |\n| --- | --- | --- |"
SELF = ("self", "cls")
HEADINGS = ("Args:", "Attributes:", "Returns:", "Raises:")
CALLED = (trackers.TensorBoard, fedtp_jax.SimulationConfig)  # classes that users make by themselves


def documentation(thing):
    """A docstring as Markdown: the entries of its sections become lists."""
    lines, entry = [], ""  # entry: how far those of a section are indented
    for line in (inspect.getdoc(thing) or "").splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        if not indent:
            lines += [line, ""] if line in HEADINGS else [line]
            entry = ""
        elif indent == (entry := entry or indent):
            name, colon, text = line.strip().partition(": ")
            lines.append(f"- `{name}`: {text}" if colon else f"- {name}")
        else:
            lines[-1] += f" {line.strip()}"
    return "\n".join(lines) + "\n"


def signature(function):
    """Names and defaults, without annotations: these print differently from one Python to the next."""
    found = inspect.signature(function)
    named = [p.replace(annotation=p.empty) for name, p in found.parameters.items() if name not in SELF]
    text = str(found.replace(parameters=named, return_annotation=found.empty))
    return re.sub(r"<function (\w+) at \w+>", r"\1", text)


def members(kind, *bases):
    """Public properties and methods of a class and of some it is made of."""
    for name, member in (pair for one in (kind, *bases) for pair in vars(one).items()):
        function = getattr(member, "__func__", member)
        is_value = isinstance(member, property | functools.cached_property)
        if not name.startswith("_") and (inspect.isfunction(function) or is_value):
            call = "" if is_value else signature(function)
            yield f"#### {kind.__name__}.{name}\n\n`{name}{call}`\n\n{documentation(member)}"


def entries(module, names):
    """A function, or a class with its members."""
    for name in sorted(names, key=str.lower):
        thing = getattr(module, name)
        call = f"`{name}{signature(thing)}`\n\n" if not inspect.isclass(thing) or thing in CALLED[:1] else ""
        yield f"### {name}\n\n{call}{documentation(thing)}"
        if inspect.isclass(thing) and thing not in CALLED:
            yield from members(thing, *(thing.__mro__[1:-1] if thing is fedtp_jax.Result else []))


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
    """The settings, a table for each section and, where it is chosen by name, for each name."""
    for field in dataclasses.fields(config.SimulationConfig):
        kinds, help = field.metadata.get("kinds"), field.metadata["help"]
        if steps := field.metadata.get("chain"):
            yield f"### {field.name}\n\n{help.capitalize()}; by default none.\n"
            for name, kind in steps.items():
                yield f"**{name}**: {first_line(kind)}\n\n{HEAD}\n" + "\n".join(fields(kind, "")) + "\n"
            continue
        if field.default_factory is dataclasses.MISSING:
            yield f"### {field.name}\n\n{HEAD}\n{row(field.name, field.default, help)}\n"
            continue
        chosen = f"\n{help.capitalize()}, by default `{name_of(default_of(field))}`.\n" if kinds else ""
        yield f"### {field.name}\n{chosen}"
        for name, kind in (kinds or {"": field.default_factory}).items():
            yield (f"**{name}**: " if name else "") + f"{first_line(kind)}\n"
            if table := "\n".join(fields(kind, f"{field.name}.")):
                yield f"{HEAD}\n{table}\n"


def page():
    """The whole of reference.md."""
    parts = [INTRODUCTION, "## Python\n", *entries(fedtp_jax, {*fedtp_jax.__all__} - {"config"})]
    parts += ["## fedtp_jax.trackers\n", *entries(trackers, ["TensorBoard"])]
    parts += ["## fedtp_jax.methods\n", *entries(methods, methods.__all__)]
    parts += ["## Settings\n", first_line(config.SimulationConfig) + "\n", *sections()]
    return "\n".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("reference.md").write_text(page(), encoding="utf-8")
