"""simulate(config) -> Result, for one seed or for several."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, overload

from fedtp_jax import hosts, settings
from fedtp_jax.building import show
from fedtp_jax.config import Arrays, SimulationConfig
from fedtp_jax.data.federated import Dataset
from fedtp_jax.data.sources import load
from fedtp_jax.errors import UserError
from fedtp_jax.folder import RunFolder, SeedsFolder
from fedtp_jax.result import Result
from fedtp_jax.run import Progress, Run
from fedtp_jax.simulators import share_programs


@overload
def simulate(
    config: SimulationConfig | str | Path | None = None,
    *,
    seeds: None = None,
    data: Dataset | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    on_round: Callable[[Progress], None] | None = None,
) -> Result: ...


@overload
def simulate(
    config: SimulationConfig | str | Path | None = None,
    *,
    seeds: Sequence[int],
    data: Dataset | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    on_round: Callable[[Progress], None] | None = None,
) -> list[Result]: ...


def simulate(
    config: SimulationConfig | str | Path | None = None,
    *,
    seeds: Sequence[int] | None = None,
    data: Dataset | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    on_round: Callable[[Progress], None] | None = None,
) -> Result | list[Result]:
    """Run a simulation, or one for each of some seeds.

    After `jax.distributed.initialize()` every process must call it with the same arguments: they run it
    together and get the same result, the first writes the folder. What one of them raises, all raise.

    Args:
      config: a configuration, or the path of a YAML file; default: FedTP on digits.
      seeds: run the configuration with each of these seeds, one after the other, on programs that are
        compiled once; a Result for each, in their order, and in `out` a folder seed-0, seed-1, ... for each.
      data: your own examples from `from_arrays`, in place of the configuration's data section.
      out: folder for metrics, checkpoints and report; must not exist or be empty. None: nothing is written.
      resume: `out` holds a run of the same configuration that was stopped; go on from its newest checkpoint.
        Of several seeds those that had not begun are started.
      on_round: called with a Progress after every round; raising KeyboardInterrupt there saves a checkpoint
        first, so that the run goes on from this very round when it is resumed.

    Raises:
      UserError: for a mistake in the configuration, the data or the folder, before anything is written.
      FloatingPointError: when all clients of a round return numbers that are not finite.
    """
    if config is None:
        config = SimulationConfig()
    elif isinstance(config, str | Path):
        config = hosts.together(functools.partial(settings.load_config, config))
    elif not isinstance(config, SimulationConfig):
        raise UserError(f"config: got {show(config)}, expected a SimulationConfig or a file's path")
    if out is not None and not isinstance(out, str | Path):
        raise UserError(f"out: got {show(out)}, expected a folder's path")
    if on_round is not None and not callable(on_round):
        raise UserError(f"on_round: got {show(on_round)}, expected a function of a Progress")
    config = settings.checked(config)
    hosts.check_same("config", config)
    if resume and out is None:
        raise UserError("resume: needs the folder of the run to go on with; give out=...")
    if out is not None and not resume:
        hosts.on_first(functools.partial(RunFolder.check_free, Path(out)))
    if data is None:
        data = hosts.together(functools.partial(load, config.data))
    elif not isinstance(data, Dataset):
        raise UserError(
            f"data: got a {type(data).__name__}, expected what fedtp_jax.from_arrays(x, y) returns"
        )
    else:
        config = dataclasses.replace(config, data=Arrays())
    if seeds is None:
        run = Run(config, data)
        run.open(None if out is None else Path(out), resume)
        return run.loop(on_round)
    return _each_seed(
        config, _checked_seeds(seeds), data, None if out is None else Path(out), resume, on_round
    )


def _checked_seeds(seeds: Any) -> list[int]:
    found = list(seeds) if isinstance(seeds, Iterable) else []
    if not found or any(type(seed) is not int for seed in found) or len(set(found)) < len(found):
        raise UserError(f"seeds: got {show(seeds)}, expected different whole numbers, such as [0, 1, 2]")
    return found


def _each_seed(
    config: SimulationConfig,
    seeds: list[int],
    data: Dataset,
    out: Path | None,
    resume: bool,
    on_round: Callable[[Progress], None] | None,
) -> list[Result]:
    """A run for each seed, all of which share programs and the examples on the devices."""
    hosts.check_same("seeds", seeds)
    configs = [settings.checked(dataclasses.replace(config, seed=seed)) for seed in seeds]
    folder = SeedsFolder(out) if out else None
    runs: list[Run] = []
    for one in configs:
        runs.append(Run(one, data, runs[0] if runs else None))
    share_programs([run.simulator for run in runs])
    if folder and not resume:
        hosts.on_first(functools.partial(folder.create, settings.to_dict(config), seeds))
    results = []
    for seed, run in zip(seeds, runs, strict=True):
        own = folder.run(seed) if folder else None
        begun = resume and own is not None and hosts.from_first(own.exists)
        run.open(own, resume=begun)
        results.append(run.loop(on_round))
    return results
