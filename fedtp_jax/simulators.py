"""Simulators made of a configuration and its data: alone, or beside each other on common programs."""

from collections.abc import Sequence

from fedtp_jax import engine, hosts
from fedtp_jax.config import SimulationConfig
from fedtp_jax.data.federated import Dataset
from fedtp_jax.data.partition import make_partition
from fedtp_jax.rounds import Simulator
from fedtp_jax.schedule import common_layout
from fedtp_jax.task import TaskShape


def set_up(
    config: SimulationConfig, data: Dataset, beside: Simulator | None = None
) -> tuple[TaskShape, Simulator]:
    """Open the devices, part the data among the clients, build model and method.

    `beside`: a simulator of the same configuration and data but for the seed, whose programs are used.
    """
    mesh = engine.open_mesh(config.engine.devices)
    partition = hosts.together(lambda: make_partition(config.partition, data, config.seed))
    shape = TaskShape.of(data, partition)
    hosts.check_same("data", shape)
    return shape, Simulator(config, *shape.build(config), data, partition, mesh, beside)


def share_programs(simulators: Sequence[Simulator]) -> None:
    """Bring simulators that were made beside each other to common layouts: the same shapes, one program."""
    for parts in (simulators, [simulator.evaluator for simulator in simulators]):
        layout = common_layout([part.layout for part in parts])
        for part in parts:
            part.layout = layout
