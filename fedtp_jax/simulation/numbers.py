"""Numbers of a configuration that may be arguments of its programs, so that one serves many of them."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedtp_jax.config import Own, SimulationConfig
from fedtp_jax.config.plain import flat, to_dict
from fedtp_jax.learning.sharded import sharded
from fedtp_jax.methods import make_method
from fedtp_jax.simulation.whole_method import whole_method

RATES = ("training.learning_rate", "training.weight_decay", "server.learning_rate")
# what no program is made of
HOST = ("seed", "partition.", "training.schedule.", "training.warmup_rounds", "checkpoint.")


def programs_alike(a: SimulationConfig, b: SimulationConfig) -> bool:
    """Whether the simulations of two configurations are one program but for numbers, and equally long.

    They may differ in the seed, in who holds how much, in learning rates, weight decay, and in numbers of the
    method (as FedProx's mu), none of them 0: without decay, say, a program is another one. Arguments of
    optimizers are none of these.
    """
    # of the user's own nobody knows what is a number in it, or how many clients it makes
    pairs = (a.method, b.method), (a.partition, b.partition)
    if any(isinstance(one, Own) and one != other for one, other in pairs):
        return False
    left, right = flat(to_dict(a)), flat(to_dict(b))
    fields = {field for field in left | right if left.get(field) != right.get(field)}
    fields -= {field for field in fields if field.startswith(HOST)}
    # a file may hold noise, which a program adds or does not
    kind = "partition.name", "partition.clients", "partition.file", "training.schedule.name"
    same = all(left.get(field) == right.get(field) for field in kind)
    return same and all(_is_number(field, left) and _is_number(field, right) for field in fields)


def _is_number(field: str, values: Mapping[str, Any]) -> bool:
    value = values.get(field)
    if not isinstance(value, float) or value == 0 or (field == "server.learning_rate" and value == 1):
        return False  # with 1 the server takes the mean, and has no optimizer
    # optax may make another program of another argument
    return field in RATES or (field.startswith("method.") and ".optimizer." not in field)


def differing_numbers(configs: Sequence[SimulationConfig]) -> list[dict[str, float]]:
    """For each of configurations that are alike, {field: value} of the numbers in which they differ."""
    plain = [flat(to_dict(config)) for config in configs]
    fields = [
        field
        for field in plain[0]
        if not field.startswith(HOST) and any(values[field] != plain[0][field] for values in plain)
    ]
    return [{field: values[field] for field in fields} for values in plain]


@contextlib.contextmanager
def traced_with(simulator: Any, numbers: Mapping[str, Any]) -> Iterator[None]:
    """Inside it a simulator's programs are traced with these numbers, {field: value}, which may be traced."""
    before, config = simulator.method, simulator.config
    for field, value in numbers.items():
        config = _put(config, field.split("."), value)
    if numbers:
        task = simulator.task._replace(training=config.training, server=config.server)
        method = make_method(config.method, task)
        method = whole_method(method, config, task, *simulator.bench.scale)
        simulator.method = sharded(method, simulator.bench.mesh)
    try:
        yield
    finally:
        simulator.method = before


def _put(part: Any, names: Sequence[str], value: Any) -> Any:
    first, *rest = names
    return dataclasses.replace(part, **{first: _put(getattr(part, first), rest, value) if rest else value})
