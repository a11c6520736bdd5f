"""What a run's folder and its checkpoints say of the run, and how it is read back."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedtp_jax.config import SimulationConfig
from fedtp_jax.config.plain import to_dict, to_yaml
from fedtp_jax.core.errors import UserError
from fedtp_jax.partitions.files import save_partition
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.simulation.initial_state import InitialState
from fedtp_jax.storage.checkpoints import Checkpoints, Saved
from fedtp_jax.storage.environment import describe_environment, jax_switches, machine
from fedtp_jax.storage.files import write_atomically, write_json
from fedtp_jax.storage.init_file import write_init
from fedtp_jax.storage.run_folder import RunFolder
from fedtp_jax.storage.same_run import check_switches


def write_header(
    run: RunFolder,
    config: SimulationConfig,
    spec: DataSpec,
    partition: Partition,
    init: Mapping[str, Any] | None,
) -> None:
    """The files of a run's folder that are known before the first round."""
    environment = describe_environment(config.engine.devices)
    write_json(run.environment, {**environment, "inputs": spec.inputs(config)})
    save_partition(partition, run.partition)
    write_init(run.init, init)
    write_atomically(run.config, to_yaml(config))  # last: it makes the folder one of a run


def checkpoint_meta(config: SimulationConfig, spec: DataSpec) -> dict[str, Any]:
    """What every checkpoint carries beside the state."""
    return {
        "config": to_dict(config),
        "task": dataclasses.asdict(spec),
        "machine": machine(config.engine.devices),
        "switches": jax_switches(),
    }


def spec_of(meta: dict[str, Any]) -> DataSpec:
    """Of the data for which a checkpoint was saved."""
    saved: dict[str, Any] = meta["task"]
    known = dataclasses.fields(DataSpec)
    needed = {field.name for field in known if field.default is dataclasses.MISSING}
    if not needed <= set(saved) <= {field.name for field in known}:
        raise UserError("checkpoints: were written by another version of fedtp_jax; run the simulation again")
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in saved.items()}
    return DataSpec(**fields)


def read_meta(checkpoints: Checkpoints, path: Path) -> dict[str, Any]:
    """What the newest readable checkpoint carries beside the state."""
    found = checkpoints.newest_meta()
    if found is None:
        raise _none_readable(checkpoints, path)
    if not {"config", "task", "machine"} <= set(found):
        raise UserError("checkpoints: were written by another version of fedtp_jax; run the simulation again")
    check_switches(found, path)
    return found


def read_newest(
    checkpoints: Checkpoints, initial: InitialState, path: Path, until: int | None = None
) -> tuple[int, Saved]:
    """(rounds, what was saved) of the newest readable checkpoint of a run's folder, `until` this round."""
    found = checkpoints.newest(initial, until)
    if found is None:
        raise _none_readable(checkpoints, path)
    return found


def _none_readable(checkpoints: Checkpoints, path: Path) -> UserError:
    if checkpoints.steps():
        return UserError(f"{path}: holds no checkpoint that can be read; run the simulation again")
    return UserError(f"{path}: holds no checkpoint yet; wait for the run's first, or resume the run")
