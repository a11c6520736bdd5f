"""Fields that are set in nested values, section.field=value: another name begins with its own defaults."""

import warnings
from collections.abc import Mapping
from typing import Any

from fedtp_jax.config import SimulationConfig
from fedtp_jax.config.convert import NAMED, show
from fedtp_jax.config.plain import flat, plain_values
from fedtp_jax.core.errors import UserError

NAME = ".name"
OPTIMIZER = "optimizer"
CHOSEN = (*NAMED, OPTIMIZER)  # sections that are chosen by name


def set_fields(tree: dict[str, Any], fields: Mapping[str, Any]) -> None:
    """Write {dotted field: value} into nested values, names before what they have.

    Another name drops all that was set for the one before it, but what is given beside it; a warning says
    what was dropped and is no default. An optimizer that is given as a whole, be it by its name alone, is
    what it would be in a file: plain sgd has no momentum.
    """
    dropped: dict[str, Any] = {}
    fields = dict(_by_name(field, value) for field, value in fields.items())
    for field, value in sorted(fields.items(), key=lambda pair: not _is_name(pair[0])):
        dropped |= _set(tree, field, _copied(value))  # a later one may write into it
    given = flat(fields)
    if lost := {field: value for field, value in dropped.items() if field not in given}:
        words = ", ".join(f"{field}={show(value)}" for field, value in lost.items())
        kept = [field for field in lost if _fits(tree, field)]
        hint = f"; to keep {', '.join(kept)}, give it beside the name" if kept else ""
        warnings.warn(
            f"dropped, as set for another name than the one chosen now: {words}{hint}", stacklevel=5
        )


def _fits(tree: Mapping[str, Any], field: str) -> bool:
    """Whether the name that was chosen has such a field too."""
    words, inner = field.split("."), dict[str, Any](tree)
    for depth, word in enumerate(words[:-1]):
        found = inner.get(word)
        inner = found if isinstance(found, dict) else {}
        if kind := _kind(word, inner.get("name")):
            return field in flat(plain_values(kind()), f"{'.'.join(words[: depth + 1])}.")
    return False


def _copied(value: Any) -> Any:
    """With containers of its own; parts made in Python stay the user's own."""
    if isinstance(value, Mapping):
        return {name: _copied(inner) for name, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _by_name(field: str, value: Any) -> tuple[str, Any]:
    """method=fedavg is method.name=fedavg, optimizer=sgd is optimizer={name: sgd}."""
    section = field.rpartition(".")[2]
    if not isinstance(value, str) or section not in CHOSEN:
        return field, value
    return (field, {"name": value}) if section == OPTIMIZER else (field + NAME, value)


def _is_name(field: str) -> bool:
    """Whether it is a name, or an optimizer as a whole, which come before their arguments."""
    return field.endswith((NAME, f".{OPTIMIZER}"))


def whole_optimizers(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """{dotted field: value} as `flat` gives them, but for optimizers that are named: these stay whole."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        whole = not isinstance(value, Mapping) or (name == OPTIMIZER and "name" in value)
        found |= {prefix + name: value} if whole else whole_optimizers(value, f"{prefix}{name}.")
    return found


def _set(tree: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    """Write `value` at "a.b"; {field: value} of what it drops."""
    *path, last = field.split(".")
    for depth, word in enumerate(path):
        inner = tree.setdefault(word, {})
        if inner is None:
            inner = tree[word] = {}
        elif isinstance(inner, str) and word in CHOSEN:  # the short form, "method: fedavg"
            inner = tree[word] = {"name": inner}
        if not isinstance(inner, dict):
            raise UserError(f"{field}: {'.'.join(path[: depth + 1])} is a value, not a section")
        tree = inner
    dropped: dict[str, Any] = {}
    if last == "name" and path:
        if _is_another(tree, ".".join(path), value):
            dropped = _chosen(tree, ".".join(path))
            tree.clear()
    elif last in CHOSEN and isinstance(tree.get(last), dict) and isinstance(value, Mapping):
        section = tree[last]
        dropped = _chosen(section, field) if _is_another(section, field, value.get("name")) else {}
    tree[last] = value
    return dropped


def _is_another(section: Mapping[str, Any], where: str, name: Any) -> bool:
    """Whether `name` is not the one that the section has, be it by default."""
    return "of" in section or name != section.get("name", _defaults().get(where + NAME))


def _chosen(section: Mapping[str, Any], where: str) -> dict[str, Any]:
    """{field: value} of the section that are no defaults."""
    kind = _kind(where.rpartition(".")[2], section.get("name", _defaults().get(where + NAME)))
    defaults = flat(plain_values(kind()), f"{where}.") if kind else _defaults()
    not_options = {f"{where}.{word}" for word in ("name", "of", "identity")}
    missing = object()
    return {
        field: value
        for field, value in flat(section, f"{where}.").items()
        if field not in not_options and value != defaults.get(field, missing)
    }


def _kind(section: str, name: Any) -> type | None:
    """What is called so in this section, if anything is."""
    return NAMED.get(section, {}).get(name) if isinstance(name, str) else None


def _defaults() -> dict[str, Any]:
    return flat(plain_values(SimulationConfig()))
