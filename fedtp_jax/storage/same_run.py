"""Whether a stored run is the one that is asked for: its settings, own parts, data, JAX's switches."""

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedtp_jax.config import SimulationConfig
from fedtp_jax.config.places import PLACES
from fedtp_jax.config.plain import completed, differences, flat, to_dict
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.identity import comparable
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.storage.environment import XLA_FLAGS, jax_switches, machine
from fedtp_jax.storage.run_folder import RunFolder, read_inputs

BITS = ("jax_default_matmul_precision", XLA_FLAGS)
DEVICES, ROUNDS = "engine.devices", "training.rounds"
OF, IDENTITY = ".of", ".identity"
WORDS = {
    "identity": "data set (its groups, normalisation or names of classes differ)",
    "trace": "training.participation.trace, or cohorts",
    "clock": "training.clock.trace",
}
ASKED = ("training.participation.trace", "training.participation.cohorts", "training.clock.trace")


def check_same_run(
    meta: Mapping[str, Any], was: DataSpec, config: SimulationConfig, spec: DataSpec, path: Path
) -> None:
    """UserError unless a checkpoint is of this configuration and data; another machine is warned of."""
    check_config(meta, config, path)
    if was.streams != spec.streams:
        version = meta["machine"]["fedtp_jax"]
        raise UserError(
            f"{path}: was begun with fedtp_jax {version}, whose random streams are others than this one's; "
            f"go on with it after pip install fedtp_jax=={version}, or start a new run"
        )
    if was.init != spec.init:
        given = [one.init or "what the seed draws" for one in (was, spec)]
        own = (
            "leave init out, for the run's folder holds its own"
            if spec.init
            else "give its init, which is lost"
        )
        raise UserError(
            f"{path}: was started from other variables ({given[0]} there, {given[1]} here); {own}, or start "
            "a new run"
        )
    # the data themselves first: other data have another mean as well
    for name in dict.fromkeys(["data", *(field.name for field in dataclasses.fields(spec))]):
        here, saved = getattr(spec, name), getattr(was, name)
        unknown = name in WORDS and not saved  # to version 0.1.0
        if here != saved and name != "name" and not unknown:
            what = WORDS.get(name, name)
            raise UserError(
                f"{path}: was run on another {what} ({saved} there, {here} here); "
                "resume on the same data, or start a new run"
            )
    before = meta["machine"]
    changed = [
        f"{name} {before[name]} there, {value} here"
        for name, value in machine(config.engine.devices).items()
        if name != "devices" and before.get(name, value) != value
    ]
    there, here = meta.get("switches", {}), jax_switches()  # version 0.1.0 did not note them
    changed += [
        f"{name} {there[name]} there, {here[name]} here"
        for name in BITS
        if there.get(name, here[name]) != here[name]
    ]
    if changed:
        warnings.warn(
            f"resumed on another machine ({'; '.join(changed)}): sums may be made in another order, so "
            "figures may differ from those of a run that was never stopped (docs/resume.md says by how much)",
            stacklevel=7,
        )


def check_config(meta: Mapping[str, Any], config: SimulationConfig, path: Path) -> None:
    """Raise UserError unless a checkpoint's `meta` is of a run with `config`.

    Files may lie elsewhere now: what is in them is told by their fingerprints.
    """
    there, here = flat(completed(meta["config"])), flat(to_dict(config))
    parts = [field.removesuffix(IDENTITY) for field in here if field.endswith(IDENTITY)]
    parts = [part for part in parts if part + IDENTITY in there or part + OF in there]
    found = [*_settings_changed(there, here, parts), *_parts_changed(there, here, parts, path)]
    if found:
        raise UserError(
            f"{path}: was run with another configuration ({'; '.join(found)}); "
            "resume it with the one it was started with, or start a new run"
        )


def _settings_changed(there: Mapping[str, Any], here: Mapping[str, Any], parts: list[str]) -> list[str]:
    # that there is a file is a setting; where it lies is not; `more_rounds` judges of their number
    places = {place for place in PLACES if place not in ASKED or _are_texts(place, there, here)}
    # of devices another warning tells
    left_out = {*places, DEVICES, ROUNDS, *(f"{part}.name" for part in parts)}
    return differences(
        *(
            {
                name: v
                for name, v in side.items()
                if name not in left_out and not name.endswith((OF, IDENTITY))
            }
            for side in (there, here)
        )
    )


def _are_texts(field: str, *sides: Mapping[str, Any]) -> bool:
    return all(isinstance(side.get(field), str) for side in sides)


def _parts_changed(
    there: Mapping[str, Any], here: Mapping[str, Any], parts: list[str], path: Path
) -> list[str]:
    """What differs of parts of the user's own; where nobody can know, a warning says why."""
    found = []
    for part in parts:
        was, now = (side.get(part + IDENTITY, "unknown (to version 0.1.0)") for side in (there, here))
        if was == now:
            continue
        names = [side.get(f"{part}.name") for side in (there, here)]
        # what is named has its arguments among the settings
        called = [side.get(part + OF, name) for side, name in zip((there, here), names, strict=True)]
        if names[0] != names[1]:
            found.append(f"{part}: {called[0]} there, {called[1]} here")
        elif not comparable(was, now):
            warnings.warn(
                f"{path}: {part}: nobody can tell whether it is the same as before ({was} there, {now} "
                "here); make sure that it is, or give it a method fingerprint()",
                stacklevel=8,
            )
        elif called[0] != called[1]:
            found.append(f"{part}: {called[0]} there, {called[1]} here")
        else:
            found.append(f"{part}: another {called[1]}, whose code or values differ")
    return found


def check_inputs(path: Path, here: Mapping[str, str]) -> None:
    """Raise UserError where the run in `path`, if there is one, read anything else than `here`."""
    there = read_inputs(RunFolder(path))
    for field, value in here.items():
        if field.endswith(IDENTITY) and there.get(field, value) != value:
            raise UserError(
                f"{field.removesuffix(IDENTITY)}: is not what {path} was run on ({there[field]} there, "
                f"{value} here); put the file back as it was, or choose another folder"
            )


def check_switches(meta: Mapping[str, Any], path: Path) -> None:
    """UserError where JAX was told otherwise than here, so that random numbers would differ."""
    here = jax_switches()
    for name, there in meta.get("switches", {}).items():
        if name not in BITS and here.get(name, there) != there:
            raise UserError(
                f"{path}: was run with {name}={there}, but here it is {here[name]}; set it back, by "
                f"jax.config.update({name!r}, {there!r}) before anything else, or by {name.upper()}={there}"
            )
