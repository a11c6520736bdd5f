"""The precision of a model's arithmetic: layers compute at it, and inputs reach the model as they are."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedtp_jax.models.layers import BatchNorm, Convolution

# what multiplies, and what would otherwise bring its products back to float32
LAYERS = (nn.Dense, nn.DenseGeneral, nn.Einsum, nn.Conv, nn.ConvTranspose, nn.ConvLocal, Convolution)
NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, BatchNorm)


def layers_at(dtype: Any) -> contextlib.AbstractContextManager[Any]:
    """Inside it, layers of Linen modules take their inputs at `dtype`.

    Not the model itself: ids, counts and timestamps are numbers that fewer bits would blur.
    """
    if dtype == jnp.float32:
        return contextlib.nullcontext()
    return nn.intercept_methods(functools.partial(_at, dtype))


def _at(dtype: Any, call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
    if context.method_name == "__call__" and isinstance(context.module, LAYERS + NORMS):
        args = jax.tree.map(functools.partial(_cast, dtype), args)
    return call(*args, **kwargs)


def _cast(dtype: Any, x: Any) -> Any:
    return x.astype(dtype) if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating) else x
