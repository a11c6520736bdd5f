"""Settings that say where something lies: what is there is told by its fingerprint, not by its path."""

from collections.abc import Mapping
from typing import Any

from fedtp_jax.core.errors import user_path

PLACES = (
    *("data.file", "data.directory", "partition.file"),
    *("training.participation.trace", "training.participation.cohorts", "training.clock.trace"),
)


def in_full(values: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration's nested values with absolute paths, which hold in any folder."""
    return _in_full(values, "")


def _in_full(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    found = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            value = _in_full(value, f"{prefix}{name}.")
        elif prefix + name in PLACES and isinstance(value, str):
            value = str(user_path(value).absolute())
        found[name] = value
    return found
