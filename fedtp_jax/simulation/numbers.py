"""Numbers of a configuration that may be arguments of its programs, so that one serves many of them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from fedtp_jax.config import Own, SimulationConfig
from fedtp_jax.config.plain import flat, to_dict

RATES = ("training.learning_rate", "training.weight_decay", "server.learning_rate")
HOST = ("seed", "partition.", "training.schedule.", "checkpoint.")  # what no program is made of


def programs_alike(a: SimulationConfig, b: SimulationConfig) -> bool:
    """Whether the simulations of two configurations are one program but for numbers, and equally long.

    They may differ in the seed, in who holds how much, in learning rates, weight decay, and in numbers of the
    method (as FedProx's mu), none of them 0: without decay, say, a program is another one.
    """
    if isinstance(a.method, Own) and a.method != b.method:
        return False
    left, right = flat(to_dict(a)), flat(to_dict(b))
    fields = {field for field in left | right if left.get(field) != right.get(field)}
    fields -= {field for field in fields if field.startswith(HOST)}
    kind = "partition.name", "partition.clients", "training.schedule.name"
    same = all(left.get(field) == right.get(field) for field in kind)
    return same and all(_is_number(field, left) and _is_number(field, right) for field in fields)


def _is_number(field: str, values: Mapping[str, Any]) -> bool:
    value = values.get(field)
    return (field in RATES or field.startswith("method.")) and isinstance(value, float) and value != 0


def differing_numbers(configs: Sequence[SimulationConfig]) -> list[dict[str, float]]:
    """For each of configurations that are alike, {field: value} of the numbers in which they differ."""
    plain = [flat(to_dict(config)) for config in configs]
    fields = [
        field
        for field in plain[0]
        if not field.startswith(HOST) and any(values[field] != plain[0][field] for values in plain)
    ]
    return [{field: values[field] for field in fields} for values in plain]


def with_numbers(config: SimulationConfig, numbers: Mapping[str, Any]) -> SimulationConfig:
    """The configuration with these numbers, which may be traced."""
    for field, value in numbers.items():
        config = _put(config, field.split("."), value)
    return config


def _put(part: Any, names: Sequence[str], value: Any) -> Any:
    first, *rest = names
    return dataclasses.replace(part, **{first: _put(getattr(part, first), rest, value) if rest else value})
