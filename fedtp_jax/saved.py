"""What a run's folder and its checkpoints say of the run, and how it is read back."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

from fedtp_jax import settings
from fedtp_jax.checkpoint import Checkpoints, Saved
from fedtp_jax.config import SimulationConfig
from fedtp_jax.data import partition as partitions
from fedtp_jax.data.federated import Partition
from fedtp_jax.errors import UserError
from fedtp_jax.folder import RunFolder, describe_environment, write_atomically, write_json
from fedtp_jax.initial import Initial
from fedtp_jax.task import TaskShape


def write_header(run: RunFolder, config: SimulationConfig, partition: Partition) -> None:
    """The files of a run's folder that are known before the first round."""
    write_json(run.environment, describe_environment())
    partitions.save(partition, run.partition)
    write_atomically(run.config, settings.to_yaml(config))  # last: it makes the folder one of a run


def checkpoint_meta(config: SimulationConfig, task: TaskShape) -> dict[str, Any]:
    """What every checkpoint carries beside the state."""
    return {
        "config": settings.to_dict(config),
        "task": dataclasses.asdict(task),
        "machine": machine(),
    }


def machine() -> dict[str, Any]:
    """What the last digits of a result may depend on: versions, backend, number of devices."""
    environment = describe_environment()
    return {
        **environment["versions"],
        "python": environment["python"],
        "backend": environment["backend"],
        "devices": len(environment["devices"]),
    }


def task_of(meta: dict[str, Any]) -> TaskShape:
    """The task that a checkpoint was saved for."""
    saved: dict[str, Any] = meta["task"]
    if set(saved) != {field.name for field in dataclasses.fields(TaskShape)}:
        raise UserError("checkpoints: were written by another version of fedtp_jax; run the simulation again")
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in saved.items()}
    return TaskShape(**fields)


def check_same_run(meta: dict[str, Any], config: SimulationConfig, task: TaskShape, path: Path) -> None:
    """UserError unless a checkpoint is of this configuration and data; another machine is warned of."""
    check_config(meta, config, path)
    was = task_of(meta)
    for field in dataclasses.fields(task):
        here, saved = getattr(task, field.name), getattr(was, field.name)
        if here != saved:
            raise UserError(
                f"{path}: was run on another {field.name} ({saved} there, {here} here); "
                "resume on the same data, or start a new run"
            )
    changed = [
        f"{name} {meta['machine'].get(name)} there, {value} here"
        for name, value in machine().items()
        if meta["machine"].get(name) != value
    ]
    if changed:
        warnings.warn(
            f"resumed on another machine ({'; '.join(changed)}): "
            "the result may differ in the last digits from a run that was never stopped",
            stacklevel=7,
        )


def read_meta(checkpoints: Checkpoints, path: Path) -> dict[str, Any]:
    """What the newest readable checkpoint carries beside the state."""
    found = checkpoints.newest_meta()
    if found is None:
        raise _none_readable(checkpoints, path)
    if not {"config", "task", "machine"} <= set(found):
        raise UserError("checkpoints: were written by another version of fedtp_jax; run the simulation again")
    return found


def check_config(meta: dict[str, Any], config: SimulationConfig, path: Path) -> None:
    """Raise UserError unless a checkpoint's `meta` is of a run with `config`."""
    if there := settings.differences(meta["config"], settings.to_dict(config)):
        raise UserError(
            f"{path}: was run with another configuration ({'; '.join(there)}); "
            "resume it with the one it was started with, or start a new run"
        )


def read_newest(checkpoints: Checkpoints, initial: Initial, path: Path) -> tuple[int, Saved]:
    """(rounds, what was saved) of the newest readable checkpoint of a run's folder."""
    found = checkpoints.newest(initial)
    if found is None:
        raise _none_readable(checkpoints, path)
    return found


def _none_readable(checkpoints: Checkpoints, path: Path) -> UserError:
    if checkpoints.steps():
        return UserError(f"{path}: holds no checkpoint that can be read; run the simulation again")
    return UserError(f"{path}: holds no checkpoint yet; wait for the run's first, or resume the run")
