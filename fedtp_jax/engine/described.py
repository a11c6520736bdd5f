"""The workbench of devices that are only described: programs are compiled for them, and never run."""

import importlib
import os
from concurrent.futures import Future
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, SingleDeviceSharding

from fedtp_jax.config import SimulationConfig
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.engine.mesh import AXIS
from fedtp_jax.engine.programs import Programs, compile_lowered
from fedtp_jax.engine.targets import CUDNN, MOST_DEVICES, TARGETS, WITHOUT_TRITON, Target, check_installed
from fedtp_jax.engine.workbench import USED, Workbench
from fedtp_jax.partitions.partition import Partition

# What libtpu reads when it is loaded: it would ask a metadata server what machine this is. Every topology is
# compiled for from this one.
TPU_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # a process that compiles need not be the only one
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


def prepare_process(name: str) -> None:
    """Set, before JAX starts its backends, what compiling for the target `name` takes.

    For a process that does nothing else: it runs on CPU, and keeps no compiled programs.
    """
    jax.config.update("jax_platforms", "cpu")
    # programs for what is not there cannot be loaded again, and one for a TPU takes tens of MiB
    jax.config.update("jax_enable_compilation_cache", False)
    if TARGETS[name].is_tpu:
        os.environ.update(TPU_ENVIRONMENT)


def open_target(name: str, devices: int) -> Mesh:
    """A mesh of so many devices of the target `name`, for which programs can be compiled and not run.

    Raises UserError where its compiler is missing, or for more devices than are described.
    """
    check_installed(name)
    target = TARGETS[name]
    if devices > MOST_DEVICES:
        raise UserError(
            f"engine.devices: got {devices}, but --target describes at most {MOST_DEVICES}; use fewer"
        )
    if target.is_tpu:
        size = min(size for size in target.topology if size >= devices)
        described = topologies.get_topology_desc(target.topology[size], "tpu")
    else:
        # JAX asks it of the library itself, which is as large as all that compiling takes
        versions: Any = importlib.import_module("jax_cuda13_plugin._versions")
        versions.cudnn_get_version = lambda: CUDNN[0] * 10_000 + CUDNN[1] * 100 + CUDNN[2]
        described = topologies.get_topology_desc(
            "", "cuda", target_config=target.spec, topology=f"1x1x{devices}"
        )
    return Mesh(np.array(described.devices[:devices]), (AXIS,), axis_types=(AxisType.Auto,))


class Program(NamedTuple):
    """A program: its jaxpr as it was traced, and what XLA made of it, when that is there."""

    jaxpr: Any
    compiled: Future[Any]


class KeptPrograms(Programs):
    """Programs that can be looked at.

    Args:
      otherwise: XLA's options for programs that do not compile without them.

    Attributes:
      by_name: the last program that was compiled under each name, in the order of their first ones.
    """

    def __init__(self, otherwise: dict[str, Any]) -> None:
        super().__init__({})
        self._otherwise = otherwise
        self.by_name: dict[str, Program] = {}

    def _compile(self, name: str, traced: Any) -> Future[Any]:
        compiled = self._pool.submit(self._try, name, traced.lower())
        self.by_name[name] = Program(traced.jaxpr, compiled)
        return compiled

    def _try(self, name: str, lowered: Any) -> Any:
        try:
            return compile_lowered(name, lowered)
        except jax.errors.JaxRuntimeError:
            if not self._otherwise:
                raise
            return compile_lowered(name, lowered, self._otherwise)


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
