"""Which form the attention of a run has: XLA's operations, or one kernel of cuDNN."""

from typing import Any

from jax.sharding import Mesh

from fedtp_jax.config import SimulationConfig, Transformer, Vit, name_of
from fedtp_jax.core.errors import UserError
from fedtp_jax.models.fused_attention import MOST, MULTIPLE

CAPABILITY = 8.0  # of the oldest GPUs that cuDNN has the kernel for


def is_fused(config: SimulationConfig, mesh: Mesh, padded: bool = False) -> bool:
    """Whether attention is fused in a run on these devices; UserError where it was asked to be and cannot."""
    asked, why = config.engine.attention, why_not_fused(config, mesh, padded)
    if why and asked == "fused":
        raise UserError(f"engine.attention: got 'fused', but {why}; change that, or use auto")
    return asked != "xla" and not why


def why_not_fused(config: SimulationConfig, mesh: Mesh, padded: bool = False) -> str:
    """Why attention cannot be fused in a run on these devices, or ""; `padded`: texts are filled up."""
    model, device = config.model, mesh.devices.flat[0]
    if not isinstance(model, Vit | Transformer):
        return f"the model is {name_of(model)}, and only vit's and transformer's attention can be"
    if _capability(device) < CAPABILITY:
        what = f"NVIDIA GPUs of compute capability {CAPABILITY} or higher"
        return f"the devices ({device.device_kind}) are no {what}"
    if (precision := config.engine.precision) != "bfloat16":
        return f"engine.precision is {precision}, and cuDNN's kernel takes bfloat16"
    if model.dim_head % MULTIPLE or model.dim_head > MOST:
        what = f"multiples of {MULTIPLE} that are at most {MOST}"
        return f"model.dim_head is {model.dim_head}, and cuDNN's kernel takes {what}"
    if padded:
        return "texts are padded, and cuDNN's kernel is given one length for all"
    return ""


def _capability(device: Any) -> float:
    """The compute capability of an NVIDIA GPU, 0 of all else."""
    try:
        return float(getattr(device, "compute_capability", 0))
    except ValueError:  # another maker's GPU has a name there
        return 0.0
