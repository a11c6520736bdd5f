"""Simulators made of a configuration and its data: alone, or with common programs."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

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
from fedtp_jax.learning.optimizers import learning_rate_factors
from fedtp_jax.partitions.make import client_names, make_partition
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.simulation.attention_form import is_fused, why_not_fused
from fedtp_jax.simulation.class_weights import class_weights
from fedtp_jax.simulation.client_speeds import traced_speeds
from fedtp_jax.simulation.cohorts import named_cohorts, trace_of
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.simulation.rounds import BenchMaker, Simulator
from fedtp_jax.simulation.without_effect import settings_without_effect


def set_up(
    config: SimulationConfig,
    data: Dataset,
    share_with: Simulator | None = None,
    mesh: Mesh | None = None,
    make_bench: BenchMaker = Workbench,
    init: Mapping[str, Any] | None = None,
) -> tuple[DataSpec, Simulator]:
    """Open the devices, part the data among the clients, build model and method.

    `share_with`: a simulator of the same configuration and data but for the seed, whose programs are used.
    `mesh`, `make_bench`: other devices than the configuration's, and what makes a bench of them. `init`:
    {path: leaf} to start from.
    """
    if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
        raise UserError(
            "jax_disable_jit: is set, but a simulation is compiled programs; unset it, or leave out "
            "JAX_DISABLE_JIT"
        )
    mesh = mesh or open_mesh(config.engine.devices)
    partition = hosts.together(lambda: partition_of_run(config, data))
    spec = spec_of_run(config, data, partition, init)
    hosts.check_same("data", spec)
    padded = spec.padding is not None
    task, method = spec.build(config, init, check=True, fused=is_fused(config, mesh, padded))
    learning_rate_factors(config.training)  # what one of the user's own gives is looked at before it trains
    simulator = Simulator(config, task, method, data, partition, mesh, share_with, make_bench)
    clients, unfused = simulator.participation.clients, why_not_fused(config, mesh, padded)
    for line in settings_without_effect(config, task, partition, clients, unfused):
        warnings.warn(line, stacklevel=5)
    return spec, simulator


def partition_of_run(config: SimulationConfig, data: Dataset) -> Partition:
    """Who holds which examples; UserError where a setting asks for validation shards, and there are none."""
    if data.task != config.task.kind:
        hint = f"from_arrays(..., task={config.task.kind!r})" if data.source == "arrays" else "other data"
        raise UserError(
            f"task.kind: {config.task.kind}, but the labels of {data.name} are those of {data.task}; set "
            f"task.kind={data.task}, or give {hint}"
        )
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


def spec_of_run(
    config: SimulationConfig, data: Dataset, partition: Partition, init: Mapping[str, Any] | None = None
) -> DataSpec:
    """What must be known of all that a run reads."""
    of = config, partition.num_clients, client_names(config.partition, data)
    trace, cohorts = trace_of(*of), named_cohorts(*of)
    asked = (trace, cohorts) if cohorts else trace
    traced = identity(asked) if asked else ""
    spec = DataSpec.of(data, partition, traced, "" if init is None else identity(init))
    speeds = traced_speeds(*of)
    timed = "" if speeds is None else identity(speeds)
    return dataclasses.replace(spec, class_weights=class_weights(config, data), clock=timed)


def at_once(simulator: Simulator, simulations: int) -> int:
    """How many of so many simulations that share programs train side by side (`engine.simulations`)."""
    setting, bench = simulator.config.engine.simulations, simulator.bench
    if not may_train_side_by_side(simulator.config):
        return 1
    most = simulations if setting == "auto" else min(setting, simulations)

    def num_bytes(simulations: int) -> int:
        name, train, args = simulator.beside(simulations)
        return simulator.programs.num_bytes(name, train, *args, donate=(2,))

    while setting == "auto" and most > 1 and not bench.fits(most, num_bytes):
        most = -(-most // 2)
    return -(-simulations // -(-simulations // most))


def may_train_side_by_side(config: SimulationConfig) -> bool:
    """Whether simulations of this configuration do, several processes and CPUs in mind."""
    setting = config.engine.simulations
    if hosts.count() > 1 or setting == 1:
        return False
    return setting != "auto" or jax.default_backend() != "cpu"


def share_programs(simulators: Sequence[Simulator]) -> None:
    """Bring simulators that were made to share programs to common layouts: the same shapes, one program.

    Those of one size of batches: another one would change the last bits, so that a seed were not what it is
    alone.
    """
    every = [simulator.evaluators.by_program for simulator in simulators]
    together: list[Sequence[Any]] = [simulators]
    together += zip(*(simulator.embeddings.parts for simulator in simulators), strict=True)
    together += [[one for programs in every for one in programs[what]] for what in every[0]]
    for parts in together:
        for batch in {part.layout.batch for part in parts}:
            alike = [part for part in parts if part.layout.batch == batch]
            layout = common_layout([part.layout for part in alike])
            for part in alike:
                part.layout = layout
