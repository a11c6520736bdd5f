"""fedtp_jax: a vectorized JAX/Flax simulator of personalised federated learning with Transformers."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedtp_jax import config
    from fedtp_jax.comparison.compare import Comparison, compare
    from fedtp_jax.config import SimulationConfig
    from fedtp_jax.config.load import load_config
    from fedtp_jax.core.errors import UserError
    from fedtp_jax.data.arrays import from_arrays
    from fedtp_jax.data.sources import load_data
    from fedtp_jax.models.own_nnx import from_nnx
    from fedtp_jax.partitions.flower import from_flwr
    from fedtp_jax.partitions.partition import Partition
    from fedtp_jax.results.result import Result
    from fedtp_jax.runs.progress import Progress
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
    "from_flwr",
    "from_nnx",
    "load_config",
    "load_data",
    "simulate",
]
# imported when they are asked for: the command is at hand, and can be interrupted, before JAX is loaded
_HOMES = {
    **{
        "Comparison": "comparison.compare",
        "compare": "comparison.compare",
        "Partition": "partitions.partition",
    },
    **{"Progress": "runs.run", "simulate": "runs.simulate", "Result": "results.result"},
    **{"SimulationConfig": "config", "load_config": "config.load", "UserError": "core.errors"},
    **{"from_arrays": "data.arrays", "load_data": "data.sources", "from_nnx": "models.own_nnx"},
    "from_flwr": "partitions.flower",
}
_ROOMS = ("config", "export", "methods", "models", "trackers")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    return globals()[name]


def __dir__() -> list[str]:
    return [*__all__, *_ROOMS]
