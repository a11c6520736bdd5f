"""How a model is called: which arguments beside its inputs it takes."""

import inspect
from collections.abc import Collection, Mapping
from typing import Any

import flax.linen as nn

from fedtp_jax.core.errors import UserError

# what other models call `train`, some of them the other way round
LIKE_TRAIN = ("training", "is_training", "is_train", "deterministic", "inference", "eval", "test")


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


def check_arguments(parameters: Mapping[str, inspect.Parameter], given: Collection[str], called: str) -> None:
    """Raise UserError for arguments of a call, beside its inputs, that nobody would give.

    `called`: what the model is in messages, such as "Small(width=64)".
    """
    for name, parameter in parameters.items():
        if name in LIKE_TRAIN:
            raise UserError(
                f"model: {called} takes the argument {name!r}, but what says whether it is trained is called "
                "'train' here; write __call__(self, x, train=False)"
            )
        various = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        needed = parameter.default is inspect.Parameter.empty and not various
        if needed and name not in given:
            raise UserError(
                f"model: {called} takes the argument {name!r}, which nobody gives; its call gets inputs, and "
                "if it takes them 'train' and 'mask': give the others defaults"
            )
