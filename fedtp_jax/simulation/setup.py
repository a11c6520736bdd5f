"""Simulators made of a configuration and its data: alone, or with common programs."""

import warnings
from collections.abc import Sequence

import jax
from jax.sharding import Mesh

from fedtp_jax.config import SimulationConfig
from fedtp_jax.core import hosts
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.identity import identity
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.engine.mesh import open_mesh
from fedtp_jax.engine.schedule import common_layout
from fedtp_jax.engine.workbench import Workbench
from fedtp_jax.partitions.make import make_partition
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.simulation.participation import trace_of
from fedtp_jax.simulation.rounds import BenchMaker, Simulator
from fedtp_jax.simulation.without_effect import settings_without_effect


def set_up(
    config: SimulationConfig,
    data: Dataset,
    share_with: Simulator | None = None,
    mesh: Mesh | None = None,
    make_bench: BenchMaker = Workbench,
) -> tuple[DataSpec, Simulator]:
    """Open the devices, part the data among the clients, build model and method.

    `share_with`: a simulator of the same configuration and data but for the seed, whose programs are used.
    `mesh`, `make_bench`: other devices than the configuration's, and what makes a bench of them.
    """
    if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
        raise UserError(
            "jax_disable_jit: is set, but a simulation is compiled programs; unset it, or leave out "
            "JAX_DISABLE_JIT"
        )
    mesh = mesh or open_mesh(config.engine.devices)
    partition = hosts.together(lambda: partition_of_run(config, data))
    spec = spec_of_run(config, data, partition)
    hosts.check_same("data", spec)
    task, method = spec.build(config, check=True)
    simulator = Simulator(config, task, method, data, partition, mesh, share_with, make_bench)
    for line in settings_without_effect(config, task, partition, simulator.participation.clients):
        warnings.warn(line, stacklevel=5)
    return spec, simulator


def partition_of_run(config: SimulationConfig, data: Dataset) -> Partition:
    """Who holds which examples; UserError where a setting asks for validation shards, and there are none."""
    partition = make_partition(config.partition, data, config.seed)
    asked = {
        "training.stop.patience": config.training.stop.patience,
        "checkpoint.best": config.checkpoint.best,
    }
    for field, value in asked.items():
        if value is not None and partition.validation is None:
            raise UserError(
                f"{field}: {value!r}, but no example is set aside to choose by; give "
                "partition.validation=0.1 too"
            )
    return partition


def spec_of_run(config: SimulationConfig, data: Dataset, partition: Partition) -> DataSpec:
    """What must be known of all that a run reads."""
    trace = trace_of(config, partition)
    return DataSpec.of(data, partition, identity(trace) if trace else "")


def share_programs(simulators: Sequence[Simulator]) -> None:
    """Bring simulators that were made to share programs to common layouts: the same shapes, one program.

    Those of one size of batches: another one would change the last bits, so that a seed were not what it is
    alone.
    """
    evaluators = [evaluator for simulator in simulators for evaluator in simulator.evaluators]
    for parts in (simulators, evaluators):
        for batch in {part.layout.batch for part in parts}:
            alike = [part for part in parts if part.layout.batch == batch]
            layout = common_layout([part.layout for part in alike])
            for part in alike:
                part.layout = layout
