"""Flax Linen modules, one for each kind of model section in the configuration.

A model is anything with `init` and `apply(variables, inputs)`, which may take `train` and `mask` too; `mask`
[B] is 1.0 for the real examples of a padded batch.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from fedtp_jax import config
from fedtp_jax.core.errors import UserError
from fedtp_jax.models.adapter import AdapterSize
from fedtp_jax.models.cnn import SMALLEST_SIDE, Cnn
from fedtp_jax.models.cnn1d import FEWEST_STEPS, Cnn1d
from fedtp_jax.models.inputs import KINDS, Inputs
from fedtp_jax.models.lstm import Lstm
from fedtp_jax.models.mlp import Mlp
from fedtp_jax.models.text import Transformer
from fedtp_jax.models.vit import Vit

TAKES: dict[type, tuple[str, ...]] = {
    config.Vit: ("image",),
    config.Cnn: ("image",),
    config.CnnBn: ("image",),
    config.Cnn1d: ("series",),
    config.Mlp: ("features", "series", "image"),
    config.Transformer: ("text", "tokens", "series", "features"),
    config.Lstm: ("text", "tokens", "series"),
}


def make_model(
    settings: Any, inputs: Inputs, num_classes: int, causal: bool = True, fused: bool = False
) -> Any:
    """The module that `settings`, the configuration's model section, describes, for these inputs.

    The user's own module is taken as it is. For text `num_classes` is the size of the vocabulary, and
    `causal=False` is the Transformer as published, in which every position sees the whole window. `fused`:
    attention, where there is one, is one kernel of a GPU.
    """
    if isinstance(settings, config.Own):
        return settings.value
    _check_inputs(settings, inputs)
    model = _FACTORIES[type(settings)](settings, inputs, num_classes)
    if isinstance(model, Transformer):
        return model.clone(causal=causal, fused=fused and inputs.padding is None)
    return model.clone(fused=fused) if isinstance(model, Vit) else model


def _check_inputs(settings: Any, inputs: Inputs) -> None:
    """Raise UserError for inputs that are not among those that the model TAKES."""
    takes = TAKES[type(settings)]
    if inputs.kind in takes:
        return
    what = " or ".join(KINDS[kind] for kind in takes)
    given = f"{KINDS[inputs.kind].split(' [')[0]} of shape" if inputs.kind in KINDS else "examples of shape"
    fits = [name for name, kind in config.MODELS.items() if inputs.kind in TAKES[kind]]
    if fits:
        advice = f"choose {', '.join(fits)}, or other data"
    else:
        advice = (
            "give a model of your own from Python (docs/own_parts.md): none of the built-in ones takes them"
        )
    raise UserError(
        f"model.name: {config.name_of(settings)} takes {what}, but the data gives {given} "
        f"{list(inputs.shape)}; {advice}"
    )


def _vit(settings: config.Vit, inputs: Inputs, num_classes: int) -> nn.Module:
    height, width, _ = inputs.shape
    if height % settings.patch_size or width % settings.patch_size:
        fits = [p for p in range(1, min(height, width) + 1) if height % p == 0 and width % p == 0]
        raise UserError(
            f"model.patch_size: {settings.patch_size} does not divide images of {height}x{width} pixels "
            f"(examples are [height, width, channels]); use one of {', '.join(map(str, fits))}"
        )
    return Vit(num_classes, **_with_adapter(settings))


def _cnn(settings: config.Cnn, inputs: Inputs, num_classes: int) -> nn.Module:
    height, width, _ = inputs.shape
    if min(height, width) < SMALLEST_SIDE:
        raise UserError(
            f"model.name: {config.name_of(settings)} takes images whose smallest side is at least "
            f"{SMALLEST_SIDE} pixels, but the data's are {height}x{width}; choose vit or larger images"
        )
    return Cnn(num_classes, settings.kernels, batch_norm=isinstance(settings, config.CnnBn))


def _cnn1d(settings: config.Cnn1d, inputs: Inputs, num_classes: int) -> nn.Module:
    steps, _ = inputs.shape
    if steps < FEWEST_STEPS:
        raise UserError(
            f"model.name: cnn1d takes series of at least {FEWEST_STEPS} steps, but the data's have {steps}; "
            "choose mlp, lstm or transformer, or longer series"
        )
    return Cnn1d(num_classes, **vars(settings))


def _mlp(settings: config.Mlp, inputs: Inputs, num_classes: int) -> nn.Module:
    return Mlp(num_classes, **vars(settings))


def _transformer(settings: config.Transformer, inputs: Inputs, num_classes: int) -> nn.Module:
    if inputs.kind == "features" and settings.pool != "mean":
        raise UserError(
            f"model.pool: {settings.pool!r}, but the data gives features, of which none is the last; use mean"
        )
    return Transformer(num_classes, inputs, **_with_adapter(settings))


def _with_adapter(settings: config.Vit | config.Transformer) -> dict[str, Any]:
    """The settings as a Transformer takes them."""
    size, scale = settings.adapter.size, settings.adapter.scale
    return vars(settings) | {"adapter": None if size is None else AdapterSize(size, scale)}


def _lstm(settings: config.Lstm, inputs: Inputs, num_classes: int) -> nn.Module:
    return Lstm(num_classes, inputs, **vars(settings))


_FACTORIES: dict[type, Callable[[Any, Inputs, int], nn.Module]] = {
    config.Vit: _vit,
    config.Cnn: _cnn,
    config.CnnBn: _cnn,
    config.Cnn1d: _cnn1d,
    config.Mlp: _mlp,
    config.Transformer: _transformer,
    config.Lstm: _lstm,
}
