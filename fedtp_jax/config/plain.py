"""A configuration as nested plain values, the form in which files hold it and runs are told apart."""

import dataclasses
import os
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml

from fedtp_jax.config import Optimizer, Own, SimulationConfig, name_of
from fedtp_jax.config.convert import NAMED, show
from fedtp_jax.config.upload import UPLOADS
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.origin import is_jax_array


def to_dict(settings: SimulationConfig) -> dict[str, Any]:
    """Nested plain values, every field spelt out, named sections with their `name` first."""

    def plain(value: Any) -> Any:
        if isinstance(value, Own):
            return value.section
        if isinstance(value, list):
            return [plain(item) for item in value]
        return {name: plain(v) for name, v in value.items()} if isinstance(value, Mapping) else value

    return typing.cast(dict[str, Any], plain(plain_values(settings)))


def to_yaml(settings: SimulationConfig) -> str:
    """`to_dict` as YAML text that `load_config` reads back."""
    return yaml.safe_dump(to_dict(settings), sort_keys=False)


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """ "field: x there, y here" for every field in which two of `to_dict`'s configurations differ."""
    left, right, missing = flat(a), flat(b), object()

    def words(field: str) -> str:
        if field.endswith(".identity") and field in left and field in right:
            return f"{field.removesuffix('.identity')}: its code, or the Python that runs it, differs"
        return f"{field}: {show(left.get(field, 'absent'))} there, {show(right.get(field, 'absent'))} here"

    return [words(f) for f in sorted(left | right) if left.get(f, missing) != right.get(f, missing)]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested plain values as {dotted field: value}, each field after `prefix`.

    Of a list that holds parts of the user's own each entry is a field of its own, by its number.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
            value = {str(number): entry for number, entry in enumerate(value)}
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return found


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """What `to_dict` gave in an earlier version, with the defaults of the fields that it did not have yet."""
    return _filled(values, plain_values(SimulationConfig()))


def _filled(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values and what they lack; a part that is chosen by name has the defaults of what is chosen.

    Arguments of optimizers, and parts of the user's own, are what they are.
    """
    found = {**values}
    for name, default in defaults.items():
        part = found.setdefault(name, default)
        if isinstance(part, Mapping) and "of" not in part:
            chosen = NAMED.get(name, {}).get(str(part.get("name")))
            default = plain_values(chosen()) if chosen else default
            if isinstance(default, Mapping) and (chosen or "name" not in part):
                found[name] = _filled(part, default)
    return found


def plain_values(value: Any) -> Any:
    """Nested plain values, numbers of NumPy as Python's; parts made in Python stay what they are."""
    if isinstance(value, Own):
        return plain_values(value.section) if value.named else value
    is_array = isinstance(value, np.ndarray) or is_jax_array(value)
    if isinstance(value, np.generic) or (is_array and value.ndim == 0):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, type) and any(value in kinds.values() for kinds in NAMED.values()):
        return {"name": name_of(value())}
    if is_array:
        return np.asarray(value).tolist()
    if isinstance(value, Optimizer):
        if not isinstance(value.arguments, Mapping):
            raise UserError(
                f"optimizer: got arguments {show(value.arguments)}, expected a dict, {{'momentum': 0.9}}"
            )
        return {"name": value.name, **{name: _number(v) for name, v in value.arguments.items()}}
    if dataclasses.is_dataclass(value):
        fields = {field.name: plain_values(getattr(value, field.name)) for field in dataclasses.fields(value)}
        named = any(type(value) in kinds.values() for kinds in (*NAMED.values(), UPLOADS))
        return {"name": name_of(value), **fields} if named else fields
    if isinstance(value, Mapping):
        return {name: plain_values(v) for name, v in value.items()}
    return [plain_values(item) for item in value] if isinstance(value, list | tuple) else value


def _number(value: Any) -> Any:
    """A NumPy scalar as Python's own."""
    return value.item() if hasattr(value, "item") else value
