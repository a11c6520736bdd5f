"""Parts of the user's own in place of built-in ones: what each section takes, from Python and by name."""

import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fedtp_jax.config.fields import Own
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.identity import identity
from fedtp_jax.core.importable import bound, call, check_call, find
from fedtp_jax.core.origin import is_library


class Named(NamedTuple):
    """What an importable name stands for: a function of what is given to it and of the section's fields."""

    given: tuple[str, ...]
    expected: str


NAMED_OWN = {
    "data": Named((), "a function that returns what fedtp_jax.from_arrays(x, y) does"),
    "partition": Named(("data", "seed"), "a function of data and seed that returns a Partition"),
    "model": Named((), "the class of a Linen module, or a function that returns a model"),
    "method": Named(("task",), "a function of a task that returns a Method"),
    "schedule": Named(("round",), "a function of the round that returns the factor of the learning rate"),
    "metrics": Named(("labels", "scores"), "a function of labels and scores that returns a number"),
    "optimizer": Named(("learning_rate",), "a function of the learning rate that returns optax's optimizer"),
}


def is_function(value: Any) -> bool:
    """Whether it can be called and is no class."""
    return callable(value) and not isinstance(value, type)


def is_model(value: Any) -> bool:
    """Whether it has what every model has."""
    return hasattr(value, "init") and hasattr(value, "apply")


# what Python may give, section by section
OWN: dict[str, Callable[[Any], bool]] = {
    "partition": lambda value: hasattr(value, "fingerprint") or is_function(value),
    "model": is_model,
    "method": is_function,
}


def refuse_unmade(model: Any) -> None:
    """Raise UserError for a class in place of its instance, and for NNX modules, which are made anew."""
    unmade = isinstance(model, type)
    kind = model if unmade else type(model)
    if any(base.__module__.startswith("flax.nnx") for base in kind.__mro__):
        raise UserError(
            f"model: got {'the NNX class' if unmade else 'an NNX'} {kind.__name__}; give what makes one: "
            f"fedtp_jax.from_nnx(lambda rngs: {kind.__name__}(..., rngs=rngs))"
        )
    if unmade and is_model(model):
        raise UserError(f"model: got the class {kind.__name__}; give an instance, {kind.__name__}()")


def target_of(where: str, name: str, arguments: Mapping[str, Any]) -> Any:
    """The function or class that a section names, which takes its fields; UserError where it does not."""
    section = where.rpartition(".")[2]
    kind, target = NAMED_OWN[section], find(name, f"{where}.name")
    fits = is_function(target)
    if section == "model":
        fits = is_model(target) if isinstance(target, type) else fits and not is_model(target)
    if not fits:
        given = "a class" if isinstance(target, type) else f"of type {type(target).__name__}"
        raise UserError(f"{where}.name: {name!r} is {given}, expected {kind.expected}")
    check_call(target, name, kind.given, arguments, where)
    return target


def named_part(where: str, name: str, target: Any, arguments: Mapping[str, Any]) -> Own:
    """The part that is `target` with these arguments; a model is made of them at once."""
    words = ", ".join(f"{argument}={value!r}" for argument, value in arguments.items())
    called = f"{name}({words})" if words else name
    value = bound(target, arguments)
    if where == "model":
        value = call(target, called, where, **arguments)
        refuse_unmade(value)
        if not is_model(value):
            raise UserError(
                f"{where}: {called} returned a {type(value).__name__}, expected a model; return a Linen "
                "module, or what fedtp_jax.from_nnx gives"
            )
    return Own(called, _identity(target), value, {"name": name, **arguments})


def _identity(target: Any) -> str:
    """As core.identity tells it; of an installed package, of which that knows the name, by its file."""
    module = str(getattr(target, "__module__", ""))
    file = getattr(sys.modules.get(module), "__file__", None)
    if not is_library(module) or not file:
        return identity(target)
    return identity((target, hashlib.sha256(Path(file).read_bytes()).hexdigest()))
