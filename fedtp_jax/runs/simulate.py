"""simulate(config) -> Result, for one seed or for several."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

from fedtp_jax.config import Arrays, SimulationConfig
from fedtp_jax.config.convert import show
from fedtp_jax.config.load import checked, load_config, replaced
from fedtp_jax.config.places import PLACES, in_full
from fedtp_jax.config.plain import plain_values, to_dict
from fedtp_jax.core import hosts
from fedtp_jax.core.errors import UserError, user_path
from fedtp_jax.core.jax_settings import in_our_settings, under_present_settings
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.data.sources import load
from fedtp_jax.engine.mesh import decide_devices
from fedtp_jax.export.given_leaves import Init, given_leaves
from fedtp_jax.results.result import Result
from fedtp_jax.runs.progress import OnEvaluation, OnRound, Progress, Resume
from fedtp_jax.runs.side_by_side import Job, run_jobs
from fedtp_jax.storage.init_file import read_init
from fedtp_jax.storage.locks import keeping
from fedtp_jax.storage.more_rounds import check_more_rounds
from fedtp_jax.storage.run_folder import RunFolder, SeedsFolder, noted_rounds, read_devices

if TYPE_CHECKING:
    from fedtp_jax.runs.display import Display

Section = str | Mapping[str, Any] | object  # a name, some fields, or a section of fedtp_jax.config


class Settings(TypedDict, total=False):
    """Sections and fields of a configuration, as keywords of `simulate`."""

    seed: int
    compat: Literal["none", "reference"]
    partition: Section
    model: Section
    method: Section
    task: Section
    training: Section
    server: Section
    evaluation: Section
    engine: Section
    checkpoint: Section


@overload
def simulate(
    config: SimulationConfig | str | Path | None = None,
    *,
    seeds: None = None,
    data: Dataset | Section | None = None,
    out: str | Path | None = None,
    init: Init | None = None,
    resume: Resume = False,
    on_round: OnRound | None = None,
    on_evaluation: OnEvaluation | None = None,
    progress: bool = False,
    **settings: Unpack[Settings],
) -> Result: ...


@overload
def simulate(
    config: SimulationConfig | str | Path | None = None,
    *,
    seeds: Sequence[int],
    data: Dataset | Section | None = None,
    out: str | Path | None = None,
    init: Init | None = None,
    resume: Resume = False,
    on_round: OnRound | None = None,
    on_evaluation: OnEvaluation | None = None,
    progress: bool = False,
    **settings: Unpack[Settings],
) -> list[Result]: ...


def simulate(
    config: SimulationConfig | str | Path | None = None,
    *,
    seeds: Sequence[int] | None = None,
    data: Dataset | Section | None = None,
    out: str | Path | None = None,
    init: Init | None = None,
    resume: Resume = False,
    on_round: OnRound | None = None,
    on_evaluation: OnEvaluation | None = None,
    progress: bool = False,
    **settings: Unpack[Settings],
) -> Result | list[Result]:
    """Run a simulation, or one for each of some seeds.

    `simulate(method="fedtp", data="fashion_mnist", training={"rounds": 100})`: the keywords are the sections
    of a configuration; each takes a name, a dict of some of its fields, or a section of `fedtp_jax.config`.
    They replace what `config` says, as `method.name=fedtp training.rounds=100` does on the command line.

    After `jax.distributed.initialize()` every process must call it with the same arguments: they run it
    together and get the same result, the first writes the folder. What one of them raises, all raise.

    Args:
      config: a configuration, or the path of a YAML file; default: FedTP on digits.
      seeds: run the configuration with each of these seeds, on programs that are compiled once: one after
        the other, or several side by side as one program (`engine.simulations`); a Result for each, in their
        order, and in `out` a folder seed-0, seed-1, ... for each.
      data: a name or section, as above, or your own examples from `from_arrays`.
      out: folder for metrics, checkpoints and report; must not exist or be empty. None: nothing is written.
      init: what every client starts from, in place of what the seed draws: Flax variables of the model,
        nested or {path: array}; a result, of its mean client; or a path: a run's folder, or a file
        .safetensors, .msgpack (Flax's), .pt or .pth (a PyTorch state of the FedTP authors' models). A run
        that is resumed has its own.
      resume: `out` holds a run of the same configuration that was stopped; go on from its newest checkpoint.
        Of several seeds those that had not begun are started. A run that `on_evaluation` ended stays ended;
        "further" goes on with it too. With more training.rounds than it was asked for, a finished run goes
        on as well: bit for bit the run that had asked for so many.
      on_round: called with a Progress after every round; raising KeyboardInterrupt there saves a checkpoint
        first, so that the run goes on from this very round when it is resumed.
      on_evaluation: called with a Progress after every evaluation, before `on_round`; if it returns True, the
        run ends with this round (early stopping).
      progress: show round, accuracy, speed and time left, in a terminal or a notebook (with ipywidgets).

    Raises:
      UserError: for a mistake in the configuration, the data or the folder, before anything is written.
      FloatingPointError: when all clients of a round return numbers that are not finite.
      StorageError: an OSError: metrics.csv could not be written (disk full); what was saved stays, so that
        the run can be resumed. What it can do without (report, times, a checkpoint) is warned of, and is in
        `Result.missing` if it could not be written until the end.
    """
    _check_arguments(config, out, on_round, on_evaluation)
    config = _configuration(config, data, settings)
    hosts.check_same("config", config)
    folder = _free_folder(out, resume)
    config = _on_devices(config, folder if resume else None)
    examples = (
        data if isinstance(data, Dataset) else hosts.together(functools.partial(_load, config, bool(resume)))
    )
    each = None if seeds is None else _checked_seeds(seeds)
    on_round = on_round and under_present_settings(on_round)
    on_evaluation = on_evaluation and under_present_settings(on_evaluation)
    with contextlib.ExitStack() as shown:
        shown.enter_context(in_our_settings())
        start = _start(init, config, folder if resume else None)
        if progress and hosts.is_first():
            on_round = _also(shown.enter_context(_display(config, each)), on_round)
        job = Job(config, folder, resume, on_round, on_evaluation, start)
        return _each_seed(job, each, examples) if each is not None else run_jobs([job], examples)[0]


def _start(init: Init | None, config: SimulationConfig, resumed: Path | None) -> Mapping[str, Any] | None:
    """{path: leaf} of what is given to start from, or was given to the run that is resumed."""
    if init is not None:
        return hosts.together(functools.partial(given_leaves, init, config.model))
    return hosts.from_first(functools.partial(read_init, resumed)) if resumed else None


def _on_devices(config: SimulationConfig, resumed: Path | None) -> SimulationConfig:
    """`config` with the number of devices that it has here, which is part of its result."""
    before = hosts.from_first(functools.partial(read_devices, resumed)) if resumed else "auto"
    devices = decide_devices(config.engine.devices, before)
    return dataclasses.replace(config, engine=dataclasses.replace(config.engine, devices=devices))


def _load(config: SimulationConfig, resumed: bool) -> Dataset:
    """The data that the configuration names; they may have been moved since a run began."""
    try:
        return load(config.data, config.task.kind)
    except UserError as error:
        fields = [field.name for field in dataclasses.fields(config.data) if f"data.{field.name}" in PLACES]
        if not resumed or not fields:
            raise
        raise UserError(
            f"{error}; where they lie elsewhere now: fedtp resume FOLDER data.{fields[0]}=PATH, or "
            f"simulate(..., data={{{fields[0]!r}: PATH}})"
        ) from None


def _check_arguments(config: Any, out: Any, on_round: Any, on_evaluation: Any) -> None:
    """Raise UserError for what is of no use in any configuration."""
    if not isinstance(config, SimulationConfig | str | Path | None):
        raise UserError(f"config: got {show(config)}, expected a SimulationConfig or a file's path")
    if out is not None and not isinstance(out, str | Path):
        raise UserError(f"out: got {show(out)}, expected a folder's path")
    for name, hook in (("on_round", on_round), ("on_evaluation", on_evaluation)):
        if hook is not None and not callable(hook):
            raise UserError(f"{name}: got {show(hook)}, expected a function of a Progress")


def _configuration(
    config: SimulationConfig | str | Path | None, data: Any, settings: Mapping[str, Any]
) -> SimulationConfig:
    """The configuration with the sections that were given beside it."""
    values = {**settings}
    if isinstance(data, Dataset):
        values["data"] = Arrays()
    elif isinstance(data, str | Mapping) or dataclasses.is_dataclass(data):
        values["data"] = data
    elif data is not None:
        raise UserError(
            f"data: got a {type(data).__name__}, expected a name such as 'digits', or what "
            "fedtp_jax.from_arrays(x, y) returns"
        )
    if isinstance(config, str | Path):
        return hosts.together(functools.partial(load_config, config, values=values))
    return replaced(checked(config or SimulationConfig()), values)


def _free_folder(out: str | Path | None, resume: Resume) -> Path | None:
    """The run's folder, which must be free unless a run is resumed in it."""
    if not isinstance(resume, bool) and resume != "further":
        raise UserError(f"resume: got {show(resume)}; choose True, False or 'further'")
    folder = None if out is None else user_path(out)
    if resume and folder is None:
        raise UserError("resume: needs the folder of the run to go on with; give out=...")
    if folder is not None and not resume:
        hosts.on_first(functools.partial(RunFolder.check_free, folder))
    return folder


def _display(config: SimulationConfig, seeds: Sequence[int] | None) -> "Display":
    from rich.console import Console  # not before it is needed

    from fedtp_jax.runs.display import Display

    return Display(Console(stderr=True), config.training.rounds, silent=False, seeds=seeds or ())


def _also(display: "Display", on_round: OnRound | None) -> OnRound:
    def both(progress: Progress) -> None:
        display.on_round(progress)
        if on_round:
            on_round(progress)

    return both


def _checked_seeds(seeds: Any) -> list[int]:
    found = [plain_values(seed) for seed in seeds] if isinstance(seeds, Iterable) else []
    if not found or any(type(seed) is not int for seed in found) or len(set(found)) < len(found):
        raise UserError(f"seeds: got {show(seeds)}, expected different whole numbers, such as [0, 1, 2]")
    return found


def simulate_alike(requests: Sequence[Job], seeds: Sequence[Sequence[int]]) -> list[Result]:
    """As `simulate(config, seeds=..., out=folder, resume=True, on_round=...)` of each request in turn.

    Their configurations are alike (`programs_alike`): they train side by side.
    """
    placed = [job._replace(config=_on_devices(job.config, job.folder)) for job in requests]
    data = _load(placed[0].config, True)
    with in_our_settings():
        each = [own for job, some in zip(placed, seeds, strict=True) for own in _jobs_of_seeds(job, some)]
        return run_jobs(each, data)


def _each_seed(job: Job, seeds: list[int], data: Dataset) -> list[Result]:
    """A run of the job for each seed, all of which share programs and the examples on the devices."""
    hosts.check_same("seeds", seeds)
    jobs, kept = _jobs_of_seeds(job, seeds), contextlib.ExitStack()

    def begin() -> None:
        if job.folder is None:
            return
        if not job.resume:
            SeedsFolder(job.folder).create(in_full(to_dict(job.config)), seeds, job.init)
        kept.enter_context(keeping(job.folder, "run"))  # between two of its runs too
        if job.resume:
            _go_on_with(SeedsFolder(job.folder), jobs)

    with kept:
        return run_jobs(jobs, data, lambda: hosts.on_first(begin))


def _go_on_with(folder: SeedsFolder, jobs: Sequence[Job]) -> None:
    """Note how many rounds the runs are asked for, unless one of them cannot have so many."""
    for job in jobs:
        if job.folder and job.resume and noted_rounds(RunFolder(job.folder)) != job.config.training.rounds:
            check_more_rounds(job.folder, job.config)
    folder.note_rounds(jobs[0].config.training.rounds)


def _jobs_of_seeds(job: Job, seeds: Sequence[int]) -> list[Job]:
    """The job with each seed, in a folder of its own if there is one."""
    folder = SeedsFolder(job.folder) if job.folder else None

    def of(seed: int) -> Job:
        own = folder.run(seed) if folder else None
        begun = job.resume and folder and hosts.from_first(functools.partial(folder.begun, seed))
        config = checked(dataclasses.replace(job.config, seed=seed))
        return job._replace(config=config, folder=own, resume=job.resume if begun else False)

    return [of(seed) for seed in seeds]
