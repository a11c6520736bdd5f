"""Plain values -> the dataclasses of a configuration, with one clear message per mistake."""

import contextlib
import dataclasses
import datetime
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from fedtp_jax import config
from fedtp_jax.config import Metrics, Optimizer, Own, default_of, name_of
from fedtp_jax.config.fields import ValidationMetric
from fedtp_jax.config.metrics import METRICS, check_measures
from fedtp_jax.config.names import check_names
from fedtp_jax.config.own import named_part, target_of
from fedtp_jax.core.errors import UserError, nearest
from fedtp_jax.core.importable import is_importable

NAMED = {
    "data": config.DATASETS,
    "partition": config.PARTITIONS,
    "model": config.MODELS,
    "method": config.METHODS,
    "schedule": config.SCHEDULES,
    "aggregation": config.AGGREGATIONS,
}
NAMED_IN = {"schedule": "training", "aggregation": "server"}  # sections of those that are parts of one
OF_YOUR_OWN = {  # what Python may give beside a name
    "data": "from_arrays(x, y), or {'name': 'npz', 'file': 'mine.npz'}",
    "partition": "Partition.from_lists(train, test)",
    "model": "a Flax module of your own",
    "method": "a function of your own that returns a Method",
    "training.schedule": "a function of your own, round -> factor",
}


def build(kind: type, values: Any, where: str) -> Any:
    """An instance of dataclass `kind` from plain values; `where` is its dotted name and a dot, or empty."""
    if not isinstance(values, Mapping):
        raise UserError(
            f"{where.rstrip('.') or 'configuration'}: expected a section with fields, got {show(values)}"
        )
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    check_names(kind, values, where)
    built: dict[str, Any] = {}
    for name, value in values.items():
        field, dotted = fields[name], where + name
        if isinstance(value, Own):
            built[name] = value
            continue
        if field.metadata.get("kinds"):
            default = name_of(default_of(field))
            built[name] = _build_named(field.metadata["kinds"], value, dotted, default)
        elif field.metadata.get("chain"):
            built[name] = _build_chain(field.metadata["chain"], value, dotted)
        elif field.metadata.get("metrics"):
            built[name] = _build_metrics(value, dotted)
        elif field.metadata.get("optimizer"):
            built[name] = _build_optimizer(value, dotted, default_of(field))
        elif dataclasses.is_dataclass(hints[name]):
            built[name] = build(typing.cast(type, hints[name]), {} if value is None else value, dotted + ".")
        else:
            built[name] = _convert(hints[name], value, dotted)
    return kind(**built)


def _build_named(kinds: dict[str, type], values: Any, where: str, default: str) -> Any:
    """A part that is chosen by name: {name: dirichlet, alpha: 0.3}, or the name alone.

    The name may be an importable one. In Python a schedule may be a function too.
    """
    if is_own_schedule(where, values):
        return Own.part(values)
    if isinstance(values, str):
        values = {"name": values}
    if not isinstance(values, Mapping):
        own = f", or {OF_YOUR_OWN[where]}" if where in OF_YOUR_OWN else ""
        raise UserError(f"{where}: got {show(values)}; choose one of {', '.join(kinds)}{own}")
    options = dict(values)
    name = options.pop("name", default)
    if where in OF_YOUR_OWN and is_importable(name):
        return _build_importable(name, options, where)
    _refuse_own(options, where)
    if not isinstance(name, str) or name not in kinds:
        own = f", or {OF_YOUR_OWN[where]}" if where == "data" else ""
        own += "; of your own: package.module:name" * ("." in str(name))
        hint = f" (of {name}.py here: '{name}:function')" if where in OF_YOUR_OWN and _is_file(name) else ""
        choices = f"choose one of {', '.join(kinds)}{own}"
        raise UserError(f"{where}.name: got {show(name)}{hint or nearest(str(name), kinds)}; {choices}")
    check_names(kinds[name], options, where + ".", kinds)
    return build(kinds[name], options, where + ".")


def _build_chain(kinds: dict[str, type], values: Any, where: str) -> tuple[Any, ...]:
    """Steps one after the other: [{name: clip, norm: 1.0}, {name: noise}], names alone, or a single one."""
    values = values if isinstance(values, list | tuple) else [values]
    return tuple(_build_named(kinds, one, f"{where}.{k}", "") for k, one in enumerate(values))


def _is_file(name: Any) -> bool:
    """Whether it is the name of a module in the working folder."""
    return isinstance(name, str) and name.isidentifier() and Path(f"{name}.py").is_file()


def _build_importable(name: str, options: Mapping[str, Any], where: str) -> Own:
    """The part of the user's own that a name such as "mylab.nets:Net" stands for; options: its arguments."""
    arguments = {option: value for option, value in options.items() if option != "identity"}  # told anew
    target = target_of(where, name, arguments)
    return named_part(where, name, target, _fitted(target, arguments, where))


def _fitted(target: Any, arguments: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The arguments of a function or class as its annotations have them, where these are of plain values."""
    try:
        hints = typing.get_type_hints(vars(target)["__init__"] if isinstance(target, type) else target)
    except Exception:  # of the user's own annotations
        hints = {}
    found = {}
    for name, value in arguments.items():
        dotted = f"{where}.{name}"
        if not _is_plain(value):
            raise UserError(
                f"{dotted}: got {show(value)}, expected what a file can hold: numbers, texts, lists and "
                "sections of these"
            )
        kind = hints.get(name)
        found[name] = _convert(kind, value, dotted) if _is_of_plain(kind) else value
    return found


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_plain(inner) for name, inner in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _is_of_plain(kind: Any) -> bool:
    """Whether `_convert` knows this annotation."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return all(map(_is_of_plain, inner))
    if origin is Literal:
        return all(isinstance(option, str) for option in inner)
    if origin is tuple:
        return inner[1:] == (...,) and _is_of_plain(inner[0])
    return kind in (bool, int, float, str, type(None))


def is_own_schedule(where: str, value: Any) -> bool:
    """Whether it is a function of the user's own: round -> factor."""
    return where == "training.schedule" and callable(value) and not isinstance(value, type)


def _refuse_own(options: Mapping[str, Any], where: str) -> None:
    """Raise UserError for what a file can only name."""
    if "of" in options:
        section, _, field = where.partition(".")
        given = f"{section}={{{field!r}: ...}}" if field else f"{section}=..."
        raise UserError(
            f"{where}: {options['of']} was given from Python, and no file can hold it; go on from there, "
            f"with simulate(..., {given}) or Result.load(..., {given})"
        )


def _build_optimizer(values: Any, where: str, default: Optimizer) -> Optimizer | Own:
    """{name: adam, b1: 0.9}, or the name alone; arguments without a name change those of the default.

    In Python also a function of the learning rate.
    """
    if callable(values):
        return Own.part(values)
    if isinstance(values, str):
        values = {"name": values}
    if not isinstance(values, Mapping):
        raise UserError(
            f"{where}: got {show(values)}, expected the name of an optax optimizer, a section, or a function "
            "of the learning rate"
        )
    arguments = dict(values)
    if is_importable(arguments.get("name")):
        return _build_importable(arguments.pop("name"), arguments, where)
    _refuse_own(arguments, where)
    named = "name" in arguments
    name = _convert(str, arguments.pop("name", default.name), where + ".name")
    for argument, value in arguments.items():
        if not isinstance(argument, str):
            raise UserError(f"{where}: got the argument {show(argument)}, expected names such as momentum")
        if not isinstance(value, bool | int):
            arguments[argument] = _convert(float, value, f"{where}.{argument}")
    return Optimizer(name, arguments if named else {**default.arguments, **arguments})


def _build_metrics(values: Any, where: str) -> Metrics:
    """Names, also importable ones, or a single one; in Python also functions of (labels, scores)."""
    choices = (
        f"choose some of {', '.join(METRICS)}; functions of (labels, scores) of your own: "
        "package.module:name, in Python themselves too"
    )
    values = values if isinstance(values, list | tuple) else [values]
    found: list[str | Own] = []
    for value in values:
        options = dict(value) if isinstance(value, Mapping) else {"name": value}
        if is_importable(name := options.pop("name", None)):
            value = _build_importable(name, options, where)
        elif isinstance(value, Mapping):
            _refuse_own(value, where)
        if callable(value) and not isinstance(value, type):
            value = Own.part(value)
        if not isinstance(value, Own) and value not in METRICS:
            raise UserError(f"{where}: got {show(value)}{nearest(str(value), METRICS)}; {choices}")
        found.append(value)
    check_measures(tuple(found), where)
    return tuple(found)


def _convert(kind: Any, value: Any, where: str) -> Any:
    """`value` as the annotated type; a float may come as an int, or as text, which YAML takes 1e-3 for."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        for option in typing.get_args(kind):
            try:
                return _convert(option, value, where)
            except UserError:
                continue
    elif kind is type(None) and value is None:
        return None
    elif typing.get_origin(kind) is Literal:
        if isinstance(value, str) and value in typing.get_args(kind):
            return value
    elif kind in (bool, int):
        if type(value) is kind:
            return value
    elif kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        number = _float(value)
        if number is not None:
            return number
    elif kind is str and isinstance(value, str):
        return value
    elif typing.get_origin(kind) is tuple:
        item, _ = typing.get_args(kind)
        if isinstance(value, str) and (item is str or typing.get_origin(item) is Literal):
            value = [value]
        if isinstance(value, list | tuple):
            with contextlib.suppress(UserError):  # the message shows the whole of it
                return tuple(_convert(item, one, where) for one in value)
    raise UserError(f"{where}: got {show(value)}, expected {describe(kind)}")


def _float(value: int | float | str) -> float | None:
    """A finite float, or None."""
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def describe(kind: Any) -> str:
    """A type in words, such as "a whole number or 'auto'"."""
    if kind == ValidationMetric:
        return (
            "val_accuracy, val_client_mean, val_worst_decile, val_loss, or the like of regression (val_mae) "
            "and of evaluation.metrics (val_f1_macro)"
        )
    if kind is Optimizer:
        return "the name of an optax optimizer, with optax's own defaults, or a section {name, arguments}"
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(describe(option) for option in typing.get_args(kind))
    if typing.get_origin(kind) is Literal:
        return " or ".join(repr(option) for option in typing.get_args(kind))
    words: dict[Any, str] = {
        int: "a whole number",
        float: "a finite number",
        bool: "true or false",
        str: "text",
        type(None): "null",
        tuple[str, ...]: "a list of texts",
        tuple[int, ...]: "a list of whole numbers",
        config.Metrics: "a list of names",
        config.Clients: "a list of clients (numbers or names)",
        config.Cohorts: "a list of clients (numbers or names) for each round",
    }
    if kind not in words and typing.get_origin(kind) is tuple:
        return f"a list, each of it {describe(typing.get_args(kind)[0])}"
    return words[kind]


def show(value: Any) -> str:
    """A value as the user wrote it, shortened."""
    text = str(value) if isinstance(value, datetime.date) else " ".join(repr(value).split())
    if " at 0x" in text:  # says nothing to a user
        name = getattr(value, "__qualname__", None)
        text = f"the function {name}" if isinstance(name, str) else f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
