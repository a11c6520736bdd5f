"""YAML files and `section.field=value` overrides -> SimulationConfig, with one clear message per mistake."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedtp_jax.config import Own, SimulationConfig
from fedtp_jax.config.checks import check
from fedtp_jax.config.convert import NAMED, NAMED_IN, build, is_own_schedule, show
from fedtp_jax.config.overrides import set_fields, whole_optimizers
from fedtp_jax.config.own import OWN, refuse_unmade
from fedtp_jax.config.plain import plain_values
from fedtp_jax.config.yaml_files import parse_yaml, read_yaml
from fedtp_jax.core.errors import UserError, user_path


def load_config(
    path: str | Path,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    values: Mapping[str, Any] | None = None,
) -> SimulationConfig:
    """The configuration in a YAML file, with overrides on top: "training.rounds=200", or {field: value}.

    `values` are sections as in `simulate`; parts of your own stand where the file only names them.

    Raises UserError naming the file or the dotted field, the value, and what is allowed.
    """
    if not isinstance(path, str | Path):
        raise UserError(f"path: got {show(path)}, expected the path of a .yaml file")
    pairs = _pairs(overrides)
    return from_dict(read_yaml(user_path(path), "training:"), pairs, values)


def _pairs(overrides: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """{field: value} of overrides in either form; of several for one field the last."""
    if isinstance(overrides, Mapping):
        return {**overrides}
    if isinstance(overrides, str) or not all(isinstance(text, str) for text in overrides):
        raise UserError(f"overrides: got {show(overrides)}, expected a list such as ['training.rounds=200']")
    return dict(map(_parsed, overrides))


def from_dict(
    tree: dict[str, Any],
    overrides: Sequence[str] | Mapping[str, Any] = (),
    values: Mapping[str, Any] | None = None,
) -> SimulationConfig:
    """The configuration that nested plain values describe, the inverse of `to_dict`; as `load_config`."""
    if overrides or values:
        tree = copy.deepcopy({**tree})
    set_fields(tree, _pairs(overrides))
    _put(tree, values or {})
    result: SimulationConfig = build(SimulationConfig, tree, "")
    check(result)
    return result


def replaced(settings: SimulationConfig | None, values: Mapping[str, Any]) -> SimulationConfig:
    """A configuration (default: the default one) with other sections or fields, as a.b=c gives them to a run.

    `values` {section: value}: a name ("vanilla"), some fields ({"rounds": 20}), a whole section that was made
    with `fedtp_jax.config`, or for partition, model and method a part of your own. Raises UserError as
    `load_config` does.
    """
    tree = plain_values(settings) if settings else {}
    _put(tree, values)
    return from_dict(tree)


def _put(tree: dict[str, Any], values: Mapping[str, Any]) -> None:
    for section, value in values.items():
        if isinstance(value, Mapping):
            set_fields(tree, whole_optimizers(plain_values(value), f"{section}."))
        elif isinstance(value, str):
            set_fields(tree, {section: value})
        else:
            tree[section] = Own.part(value) if _is_own(section, value) else plain_values(value)


def checked(settings: SimulationConfig) -> SimulationConfig:
    """A configuration made in Python, held to the same rules as one from a file."""
    own: dict[str, Any] = {
        name: Own.part(getattr(settings, name)) for name in OWN if _is_own(name, getattr(settings, name))
    }
    settings = dataclasses.replace(settings, **own)
    for name, kinds in NAMED.items():
        section = NAMED_IN.get(name)
        owner, field = (getattr(settings, section), f"{section}.{name}") if section else (settings, name)
        value = getattr(owner, name, None) if dataclasses.is_dataclass(owner) else None
        if isinstance(value, Own | None) or is_own_schedule(field, value):
            continue
        if type(value) not in kinds.values():
            allowed = ", ".join(f"config.{kind.__name__}()" for kind in kinds.values())
            raise UserError(f"{field}: got {show(value)}, expected one of {allowed}")
    return from_dict(plain_values(settings))


def _is_own(section: str, value: Any) -> bool:
    if section == "model":
        refuse_unmade(value)
    return not isinstance(value, Own) and section in OWN and OWN[section](value)


def _parsed(override: str) -> tuple[str, Any]:
    """(field, value) of "a.b=value"."""
    field, equals, text = override.partition("=")
    if not equals or not field:
        raise UserError(f"{override!r}: expected section.field=value, such as training.rounds=200")
    try:
        return field, parse_yaml(text) if text else None
    except ValueError:
        return field, text
