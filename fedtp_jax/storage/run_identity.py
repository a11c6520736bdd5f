"""What a run's folder and its checkpoints say of the run, and how it is read back."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

from fedtp_jax.config import SimulationConfig
from fedtp_jax.config.plain import differences, to_dict, to_yaml
from fedtp_jax.core.errors import UserError
from fedtp_jax.partitions.files import save_partition
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.simulation.initial_state import InitialState
from fedtp_jax.storage.checkpoints import Checkpoints, Saved
from fedtp_jax.storage.environment import describe_environment, jax_switches
from fedtp_jax.storage.files import write_atomically, write_json
from fedtp_jax.storage.run_folder import RunFolder

PRECISION = "jax_default_matmul_precision"
UNTIL_0_1_0 = {"jax_enable_x64": False}


def write_header(run: RunFolder, config: SimulationConfig, partition: Partition) -> None:
    """The files of a run's folder that are known before the first round."""
    write_json(run.environment, describe_environment())
    save_partition(partition, run.partition)
    write_atomically(run.config, to_yaml(config))  # last: it makes the folder one of a run


def checkpoint_meta(config: SimulationConfig, spec: DataSpec) -> dict[str, Any]:
    """What every checkpoint carries beside the state."""
    return {
        "config": to_dict(config),
        "task": dataclasses.asdict(spec),
        "machine": machine(),
        "switches": jax_switches(),
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


def spec_of(meta: dict[str, Any]) -> DataSpec:
    """Of the data for which a checkpoint was saved."""
    saved: dict[str, Any] = meta["task"]
    known = dataclasses.fields(DataSpec)
    needed = {field.name for field in known if field.default is dataclasses.MISSING}
    if not needed <= set(saved) <= {field.name for field in known}:
        raise UserError("checkpoints: were written by another version of fedtp_jax; run the simulation again")
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in saved.items()}
    return DataSpec(**fields)


def check_same_run(meta: dict[str, Any], config: SimulationConfig, spec: DataSpec, path: Path) -> None:
    """UserError unless a checkpoint is of this configuration and data; another machine is warned of."""
    check_config(meta, config, path)
    was = spec_of(meta)
    for field in dataclasses.fields(spec):
        here, saved = getattr(spec, field.name), getattr(was, field.name)
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
    there, here = meta.get("switches", {}).get(PRECISION), jax_switches().get(PRECISION)
    if "switches" in meta and there != here:
        changed.append(f"{PRECISION} {there} there, {here} here")
    if changed:
        warnings.warn(
            f"resumed on another machine ({'; '.join(changed)}): "
            "the result may differ in the last digits from a run that was never stopped",
            stacklevel=7,
        )


def check_switches(meta: dict[str, Any], path: Path) -> None:
    """UserError where JAX was told otherwise than here, so that shapes or random numbers would differ."""
    here = jax_switches()
    for name, there in meta.get("switches", UNTIL_0_1_0).items():  # version 0.1.0 did not note them
        if name != PRECISION and here.get(name, there) != there:
            raise UserError(
                f"{path}: was run with {name}={there}, but here it is {here[name]}; set it back, by "
                f"jax.config.update({name!r}, {there!r}) before anything else, or by {name.upper()}={there}"
            )


def read_meta(checkpoints: Checkpoints, path: Path) -> dict[str, Any]:
    """What the newest readable checkpoint carries beside the state."""
    found = checkpoints.newest_meta()
    if found is None:
        raise _none_readable(checkpoints, path)
    if not {"config", "task", "machine"} <= set(found):
        raise UserError("checkpoints: were written by another version of fedtp_jax; run the simulation again")
    check_switches(found, path)
    return found


def check_config(meta: dict[str, Any], config: SimulationConfig, path: Path) -> None:
    """Raise UserError unless a checkpoint's `meta` is of a run with `config`."""
    if there := differences(meta["config"], to_dict(config)):
        raise UserError(
            f"{path}: was run with another configuration ({'; '.join(there)}); "
            "resume it with the one it was started with, or start a new run"
        )


def read_newest(checkpoints: Checkpoints, initial: InitialState, path: Path) -> tuple[int, Saved]:
    """(rounds, what was saved) of the newest readable checkpoint of a run's folder."""
    found = checkpoints.newest(initial)
    if found is None:
        raise _none_readable(checkpoints, path)
    return found


def _none_readable(checkpoints: Checkpoints, path: Path) -> UserError:
    if checkpoints.steps():
        return UserError(f"{path}: holds no checkpoint that can be read; run the simulation again")
    return UserError(f"{path}: holds no checkpoint yet; wait for the run's first, or resume the run")
