"""Flax Linen modules, one for each kind of model section in the configuration.

A model is anything with `init` and `apply(variables, inputs)`, which may take `train` and `mask` too; `mask`
[B] is 1.0 for the real examples of a padded batch.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from fedtp_jax import config
from fedtp_jax.core.errors import UserError
from fedtp_jax.models.adapter import AdapterSize
from fedtp_jax.models.cnn import SMALLEST_SIDE, Cnn
from fedtp_jax.models.lstm import Lstm
from fedtp_jax.models.text import Transformer
from fedtp_jax.models.vit import Vit

IMAGE_MODELS = (config.Vit, config.Cnn, config.CnnBn)


def make_model(
    settings: Any,
    input_shape: tuple[int, ...],
    num_classes: int,
    is_text: bool = False,
    causal: bool = True,
    fused: bool = False,
) -> Any:
    """The module that `settings`, the configuration's model section, describes; inputs [B, *input_shape].

    The user's own module is taken as it is. For text `num_classes` is the size of the vocabulary, and
    `causal=False` is the Transformer as published, in which every position sees the whole window. `fused`:
    attention, where there is one, is one kernel of a GPU.
    """
    if isinstance(settings, config.Own):
        return settings.value
    _check_inputs(settings, input_shape, is_text)
    model = _FACTORIES[type(settings)](settings, input_shape, num_classes)
    if isinstance(model, Transformer):
        return model.clone(causal=causal, fused=fused)
    return model.clone(fused=fused) if isinstance(model, Vit) else model


def _check_inputs(settings: Any, input_shape: tuple[int, ...], is_text: bool) -> None:
    """Image models take [height, width, channels], text models windows of a text, [length]."""
    for_images = isinstance(settings, IMAGE_MODELS)
    if is_text != for_images and len(input_shape) == (3 if for_images else 1):
        return
    takes = "images [height, width, channels]" if for_images else "text windows [length]"
    given = "windows of a text, " * is_text + f"examples of shape {list(input_shape)}"
    fits = [name for name, kind in config.MODELS.items() if (kind in IMAGE_MODELS) != is_text]
    if is_text or len(input_shape) == 3:
        advice = f"choose {', '.join(fits)}, or other data"
    else:
        advice = (
            "give a model of your own from Python (docs/own_parts.md): none of the built-in ones takes them"
        )
    raise UserError(
        f"model.name: {config.name_of(settings)} takes {takes}, but the data gives {given}; {advice}"
    )


def _vit(settings: config.Vit, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    height, width, _ = input_shape
    if height % settings.patch_size or width % settings.patch_size:
        fits = [p for p in range(1, min(height, width) + 1) if height % p == 0 and width % p == 0]
        raise UserError(
            f"model.patch_size: {settings.patch_size} does not divide images of {height}x{width} pixels "
            f"(examples are [height, width, channels]); use one of {', '.join(map(str, fits))}"
        )
    return Vit(num_classes, **_with_adapter(settings))


def _cnn(settings: config.Cnn, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    height, width, _ = input_shape
    if min(height, width) < SMALLEST_SIDE:
        raise UserError(
            f"model.name: {config.name_of(settings)} takes images whose smallest side is at least "
            f"{SMALLEST_SIDE} pixels, but the data's are {height}x{width}; choose vit or larger images"
        )
    return Cnn(num_classes, settings.kernels, batch_norm=isinstance(settings, config.CnnBn))


def _transformer(settings: config.Transformer, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return Transformer(num_classes, **_with_adapter(settings))


def _with_adapter(settings: config.Vit | config.Transformer) -> dict[str, Any]:
    """The settings as a Transformer takes them."""
    size, scale = settings.adapter.size, settings.adapter.scale
    return vars(settings) | {"adapter": None if size is None else AdapterSize(size, scale)}


def _lstm(settings: config.Lstm, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return Lstm(num_classes, **dataclasses.asdict(settings))


_FACTORIES: dict[type, Callable[[Any, tuple[int, ...], int], nn.Module]] = {
    config.Vit: _vit,
    config.Cnn: _cnn,
    config.CnnBn: _cnn,
    config.Transformer: _transformer,
    config.Lstm: _lstm,
}
