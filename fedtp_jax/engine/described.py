"""The workbench of devices that are only described: programs are compiled for them, and never run."""

from concurrent.futures import Future
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, SingleDeviceSharding

from fedtp_jax.config import SimulationConfig
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.engine.programs import Programs, compile_lowered
from fedtp_jax.engine.targets import WITHOUT_TRITON, Target
from fedtp_jax.engine.workbench import USED, Workbench
from fedtp_jax.partitions.partition import Partition


class Program(NamedTuple):
    """A program: its jaxpr as it was traced, and what XLA made of it, when that is there."""

    jaxpr: Any
    compiled: Future[Any]


class KeptPrograms(Programs):
    """Programs that can be looked at.

    Args:
      options: XLA's, for programs that do not compile without them.

    Attributes:
      by_name: the last program that was compiled under each name, in the order of their first ones.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        self._options = options
        self.by_name: dict[str, Program] = {}

    def _compile(self, name: str, traced: Any) -> Future[Any]:
        compiled = self._pool.submit(self._try, name, traced.lower())
        self.by_name[name] = Program(traced.jaxpr, compiled)
        return compiled

    def _try(self, name: str, lowered: Any) -> Any:
        try:
            return compile_lowered(name, lowered)
        except jax.errors.JaxRuntimeError:
            if not self._options:
                raise
            return compile_lowered(name, lowered, self._options)


class DescribedBench(Workbench):
    """A bench on which every array is its shape and placement; `target` tells of its devices."""

    def __init__(
        self, config: SimulationConfig, data: Dataset, partition: Partition, mesh: Mesh, target: Target
    ) -> None:
        self._limit = target.memory
        super().__init__(config, data, partition, mesh)
        self.programs: KeptPrograms = KeptPrograms({} if target.is_tpu else WITHOUT_TRITON)

    def replicate(self, arrays: Any) -> Any:
        return self.abstract(arrays)

    def put_alone(self, array: np.ndarray) -> Any:
        one = SingleDeviceSharding(self.mesh.devices.flat[0])
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=one)

    def split(self, arrays: Any) -> Any:
        return self.abstract_rows(arrays)

    def memory(self) -> float:
        """Bytes of one device."""
        return USED * self._limit
