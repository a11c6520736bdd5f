"""fedtp_jax: a vectorized JAX/Flax simulator of personalised federated learning with Transformers."""

from fedtp_jax import config
from fedtp_jax.comparison.compare import Comparison, compare
from fedtp_jax.config import SimulationConfig
from fedtp_jax.config.load import load_config
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.arrays import from_arrays
from fedtp_jax.data.sources import load_data
from fedtp_jax.models.own_nnx import from_nnx
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.results.result import Result
from fedtp_jax.runs.run import Progress
from fedtp_jax.runs.simulate import simulate

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
