"""Who wrote a function or a class: an installed package, or the user; whether a value is of JAX."""

import functools
import sys
from pathlib import Path
from typing import Any


@functools.cache
def is_library(module: str) -> bool:
    """Whether a module of this name is Python's, ours or installed, rather than the user's."""
    top = module.partition(".")[0]
    if top == "__main__":
        return False
    if top in sys.stdlib_module_names or top == __name__.partition(".")[0]:
        return True
    file = getattr(sys.modules.get(top), "__file__", None) or ""
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def defined(kind: type) -> Any:
    """What stands where a class says that it was defined: itself, unless it was made on the way."""
    found: Any = sys.modules.get(kind.__module__)
    for word in kind.__qualname__.split("."):
        found = getattr(found, word, None)
    return found


def is_jax_array(value: Any) -> bool:
    """Whether it is an array of JAX, which need not be loaded to say no."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.Array)


def of_flax(kind: type) -> bool:
    """Whether it is a module of Flax, whose attributes say where it stands too."""
    return any(base.__module__.partition(".")[0] == "flax" for base in kind.__mro__)
