"""What a trained model takes, of inputs as the data set holds them."""

import jax
import jax.numpy as jnp
import numpy as np

from fedtp_jax.core.errors import UserError
from fedtp_jax.data.array_checks import refuse_masked
from fedtp_jax.engine.examples import normalize
from fedtp_jax.simulation.data_spec import TEXT, DataSpec


def model_inputs(spec: DataSpec, x: np.ndarray) -> jax.Array:
    """Normalised, [B, ...]; UserError for inputs that are not like those of the training."""
    refuse_masked("x", x)
    try:
        x = np.asarray(x)
    except ValueError:
        raise UserError("x: got a ragged list, expected inputs of one shape") from None
    if x.shape[1:] != spec.input_shape or not len(x):
        one = ", ".join(map(str, spec.input_shape))
        raise UserError(f"x: got shape {list(x.shape)}, expected [batch, {one}], batch at least 1")
    if ids := spec.reads.ids:
        if x.dtype.kind not in "iu" or not (x.min() >= 0 and x.max() < ids):
            what = "codes of characters" if spec.dtype == TEXT else "ids of tokens"
            raise UserError(f"x: got {x.dtype}, expected {what}, 0 to {ids - 1}")
        return jnp.asarray(x, jnp.int32)
    if (x.dtype == np.uint8) != (spec.dtype == "uint8") or x.dtype.kind not in "uf":
        raise UserError(f"x: got {x.dtype}, expected {spec.dtype}, as the training's inputs were")
    x = x if spec.dtype == "uint8" else x.astype(np.float32)
    return normalize(jnp.asarray(x), jnp.array(spec.mean), jnp.array(spec.std))
