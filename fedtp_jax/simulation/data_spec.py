"""What must be known of the data to build a model and a method, without the data."""

import dataclasses

import jax
import jax.numpy as jnp

from fedtp_jax.config import SimulationConfig
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.task import Task
from fedtp_jax.methods import make_method
from fedtp_jax.models import make_model
from fedtp_jax.partitions.partition import Partition

TEXT = "text"


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """What must be known of the data to build the model and the method without the data.

    `data` and `partition` are fingerprints: a run is only continued on the very same examples. `mean` and
    `std` normalise inputs on their last axis, uint8 ones after division by 255; text enters as it is. `dtype`
    is that of the inputs as the data set holds them, "uint8", "float32" or "text".
    """

    input_shape: tuple[int, ...]
    dtype: str
    num_classes: int
    num_clients: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_weights: tuple[float, ...] | None
    data: str
    partition: str

    @classmethod
    def of(cls, data: Dataset, partition: Partition) -> "DataSpec":
        """What must be known of these."""
        return cls(
            data.input_shape,
            TEXT if data.is_text else str(data.train.x.dtype),  # type: ignore[union-attr]
            data.num_classes,
            partition.num_clients,
            tuple(float(value) for value in data.mean),
            tuple(float(value) for value in data.std),
            data.class_weights,
            data.fingerprint(),
            partition.fingerprint(),
        )

    @property
    def is_text(self) -> bool:
        return self.dtype == TEXT

    def build(self, config: SimulationConfig) -> tuple[Task, Method]:
        """(task, method) of `config` for this data."""
        causal = config.compat != "reference"
        task = Task(
            make_model(config.model, self.input_shape, self.num_classes, self.is_text, causal),
            jax.ShapeDtypeStruct((1, *self.input_shape), jnp.int32 if self.is_text else jnp.float32),
            self.num_classes,
            self.num_clients,
            config.training,
            config.server,
            self.class_weights,
            jnp.dtype(config.engine.precision),
        )
        return task, make_method(config.method, task)
