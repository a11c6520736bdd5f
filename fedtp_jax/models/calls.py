"""How a model is called: which arguments beside its inputs it takes."""

import inspect
from typing import Any

import flax.linen as nn


def parameters_of(model: Any) -> dict[str, inspect.Parameter]:
    """{name: parameter} of a model's call, without the module itself and its inputs."""
    if isinstance(model, nn.Module):
        return dict([*inspect.signature(type(model).__call__).parameters.items()][2:])
    return dict(inspect.signature(model.apply).parameters)


def arguments_of(model: Any) -> list[str]:
    """Those of `train` and `mask` that a model's call takes.

    `**anything` takes `train`, but for Sequential, whose first layer would get it.
    """
    parameters = parameters_of(model)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    train = "train" in parameters or (takes_any and not isinstance(model, nn.Sequential))
    return ["train"] * train + ["mask"] * ("mask" in parameters)
