"""fedtp_jax: a vectorized JAX/Flax simulator of personalised federated learning with Transformers."""

from fedtp_jax import config
from fedtp_jax.compare import Comparison, compare
from fedtp_jax.config import SimulationConfig
from fedtp_jax.data.federated import Partition
from fedtp_jax.data.sources import from_arrays, load_data
from fedtp_jax.errors import UserError
from fedtp_jax.models.own_nnx import from_nnx
from fedtp_jax.result import Result
from fedtp_jax.run import Progress
from fedtp_jax.settings import load_config
from fedtp_jax.simulate import simulate

__all__ = [
    "Comparison",
    "Partition",
    "Progress",
    "Result",
    "SimulationConfig",
    "UserError",
    "compare",
    "config",
    "from_arrays",
    "from_nnx",
    "load_config",
    "load_data",
    "simulate",
]
