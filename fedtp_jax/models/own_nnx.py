"""A Flax NNX module as the simulator takes models: variables apart from the module (split and merge)."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fedtp_jax.config.convert import show
from fedtp_jax.core.errors import UserError
from fedtp_jax.models.calls import check_arguments


def from_nnx(make: Callable[[Any], Any]) -> "NnxModel":
    """A model for `simulate(model=...)` of what `make(rngs)` returns, a Flax NNX module called `module(x)`.

    Its parameters are federated by their paths, as "blocks/0/query/kernel"; dropout is on in training alone
    (`module.train()`, `module.eval()`). Features for the methods that ask for them:
    `self.sow(nnx.Intermediate, "features", x)`, x [B, F].

    Raises UserError when the module keeps state beside parameters and random numbers (batch norm's running
    statistics: NNX cannot tell padding from examples there).
    """
    from flax import nnx

    if not callable(make) or isinstance(make, nnx.Module):
        given = f"a {type(make).__name__} that was made already" if callable(make) else show(make)
        raise UserError(
            f"make: got {given}, expected a function of rngs: from_nnx(lambda rngs: Small(64, rngs=rngs))"
        )
    return NnxModel(make)


class NnxModel:
    """`init` and `apply` as those of a Linen module."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def __repr__(self) -> str:
        name = getattr(self._make, "__qualname__", type(self._make).__qualname__)
        return f"from_nnx({getattr(self._make, '__module__', '')}.{name})"

    def init(self, key: jax.Array, x: Any) -> dict[str, Any]:
        """{"params": {name: ...}} of a module made with this key."""
        parameters = _parameters(self._module(key))
        nested: dict[str, Any] = {}
        for path, variable in parameters.items():
            *outer, last = (str(word) for word in path)
            inner = nested
            for word in outer:
                inner = inner.setdefault(word, {})
            inner[last] = variable[...]
        return {"params": nested}

    def apply(
        self,
        variables: Mapping[str, Any],
        x: jax.Array,
        train: bool = False,
        rngs: Mapping[str, jax.Array] | None = None,
        mutable: Any = None,
    ) -> Any:
        """Logits; (logits, {"intermediates": ...}) where `mutable` is given, as in Linen."""
        from flax import nnx

        # what it initialises here is replaced at once, so that XLA never computes it
        module = self._module((rngs or {}).get("dropout", jax.random.key(0)))
        dtype: Any = jnp.float32
        for path, variable in _parameters(module).items():
            leaf: Any = variables["params"]
            for word in path:
                leaf = leaf[str(word)]
            variable[...] = leaf
            dtype = leaf.dtype
        if dtype != jnp.float32:  # layers that were not told otherwise compute at the parameters' precision
            for _, part in nnx.iter_graph(module):
                if isinstance(part, nnx.Module) and getattr(part, "dtype", part) is None:
                    setattr(part, "dtype", dtype)  # noqa: B010 (not every module has one)
        module.train() if train else module.eval()
        parameters = dict([*inspect.signature(module.__call__).parameters.items()][1:])
        check_arguments(parameters, ("train",), type(module).__name__)
        options = {"train": train} if "train" in parameters else {}
        logits, sown = nnx.capture(module, nnx.Intermediate)(x, **options)
        features = {str(path[-1]): v.get_value() for path, v in nnx.to_flat_state(sown)}
        return logits if mutable is None else (logits, {"intermediates": features})

    def _module(self, key: jax.Array) -> Any:
        from flax import nnx

        module = self._make(nnx.Rngs(key))
        if not isinstance(module, nnx.Module):
            raise UserError(
                f"model: {self!r} made a {type(module).__name__}, expected an NNX module; give from_nnx a "
                "function of rngs that returns one"
            )
        rest = [v for _, v in nnx.to_flat_state(nnx.state(module, nnx.Not(nnx.Any(nnx.Param, nnx.RngState))))]
        if kinds := sorted({type(variable).__name__ for variable in rest}):
            raise UserError(
                f"model: {self!r} keeps {', '.join(kinds)} beside its parameters, which cannot be federated; "
                "use layer norm or group norm in place of batch norm"
            )
        return module


def _parameters(module: Any) -> dict[tuple[Any, ...], Any]:
    """{path: variable}, the module's own variables."""
    from flax import nnx

    return {path: v for path, v in nnx.iter_graph(module) if isinstance(v, nnx.Param)}
