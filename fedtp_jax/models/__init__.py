"""Flax Linen modules. A model is anything with `init` and `apply(variables, inputs, train=...)`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from fedtp_jax import config
from fedtp_jax.errors import UserError
from fedtp_jax.models.vit import Vit


def make_model(settings: Any, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """The module that `settings`, the configuration's model section, describes; inputs [B, *input_shape]."""
    return _FACTORIES[type(settings)](settings, input_shape, num_classes)


def _vit(settings: config.Vit, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    if len(input_shape) != 3:
        raise UserError(
            f"model.name: vit takes images [height, width, channels], but the data's examples have shape "
            f"{list(input_shape)}; choose another model or reshape the data"
        )
    height, width, _ = input_shape
    if height % settings.patch_size or width % settings.patch_size:
        fits = [p for p in range(1, min(height, width) + 1) if height % p == 0 and width % p == 0]
        raise UserError(
            f"model.patch_size: {settings.patch_size} does not divide images of {height}x{width} pixels "
            f"(examples are [height, width, channels]); use one of {', '.join(map(str, fits))}"
        )
    return Vit(num_classes=num_classes, **dataclasses.asdict(settings))


_FACTORIES: dict[type, Callable[[Any, tuple[int, ...], int], nn.Module]] = {config.Vit: _vit}
