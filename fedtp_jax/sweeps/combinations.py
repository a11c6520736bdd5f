"""What a sweep's file asks for: combinations of settings, each checked, named, and given its folder."""

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from fedtp_jax.comparison.differing_fields import DifferingFields
from fedtp_jax.config import SimulationConfig
from fedtp_jax.config.convert import describe, show
from fedtp_jax.config.fields import ValidationMetric
from fedtp_jax.config.load import load_config
from fedtp_jax.config.metrics import check_choice
from fedtp_jax.config.places import in_full
from fedtp_jax.config.plain import completed, differences, to_dict
from fedtp_jax.config.yaml_files import read_yaml
from fedtp_jax.core import hosts
from fedtp_jax.core.errors import StorageError, UserError, nearest
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.data.sources import load
from fedtp_jax.evaluation.measures import measures_of
from fedtp_jax.simulation.setup import partition_of_run, spec_of_run
from fedtp_jax.storage.run_folder import RunFolder, SeedsFolder, note_order
from fedtp_jax.storage.same_run import check_inputs

FIELDS = ("base", "seeds", "grid", "list", "select")
# by what settings may be chosen, and what is then told of the test shards; None: the headline
MEASURED: dict[str, str | None] = {name: name.removeprefix("val_") for name in get_args(ValidationMetric)}
MEASURED["val_loss"] = None
LONGEST = 120  # letters of a folder's name; file systems allow 255


@dataclasses.dataclass(frozen=True)
class Combination:
    """One configuration of a sweep; in `folder` a run for each of the seeds, seed-0, seed-1, ..."""

    name: str
    config: SimulationConfig
    folder: Path
    seeds: tuple[int, ...]

    def run(self, seed: int) -> Path:
        return SeedsFolder(self.folder).run(seed)

    def is_done(self, seed: int) -> bool:
        """Whether the run is finished: its report is the last thing that it writes."""
        return RunFolder(self.run(seed)).report.is_file()

    @property
    def left(self) -> list[int]:
        """Seeds whose runs are not finished."""
        return [seed for seed in self.seeds if not self.is_done(seed)]

    def begin(self) -> list[int]:
        """Make the folder, note which seeds are run together in it, as `fedtp resume` will, and return them.

        If some were stopped these are the ones that they were begun with, finished ones too: their common
        layout stays, and with it every bit. If others have come these go with what is left, and what is
        finished is not touched: another layout would change the last digits of its evaluation.
        """
        folder = SeedsFolder(self.folder)
        _, begun = folder.read() or ({}, [])
        open_seeds = [seed for seed in begun if not self.is_done(seed)]
        seeds = begun if set(open_seeds) == set(self.left) else self.left
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            folder.note(in_full(to_dict(self.config)), seeds)
        except OSError as error:
            raise StorageError(
                f"{self.folder}: cannot be written ({error.strerror}); free space, then sweep again"
            ) from None
        return seeds


class Sweep(NamedTuple):
    """What a file asks for: each combination's configuration, seeds, by what to choose among settings."""

    configs: list[SimulationConfig]
    seeds: tuple[int, ...]
    select: str | None = None


def read_sweep(file: Path) -> Sweep:
    """What the file asks for, all of it checked.

    Raises UserError naming the file, the field or the combination, what came and what is allowed.
    """
    values = read_yaml(file, "base:")
    for name in values:
        if name not in FIELDS:
            raise UserError(
                f"{file}: {name}: unknown field{nearest(str(name), FIELDS)}; the fields of a sweep are: "
                f"{', '.join(FIELDS)}"
            )
    if not isinstance(values.get("base"), str):
        raise UserError(
            f"{file}: base: got {show(values.get('base'))}, expected the path of a configuration file, from "
            "this file's folder, such as quickstart.yaml"
        )
    path = file.parent / values["base"]
    base = _loaded(path, {}, f"{file}: base")
    entries = _entries(file, values)
    configs = [_loaded(path, entry, f"{file}: {_words(entry)}") for entry in entries]
    for k, config in enumerate(configs):
        if config in configs[:k]:
            first = entries[configs.index(config)]
            raise UserError(
                f"{file}: {_words(first)} and {_words(entries[k])} are one configuration; keep one of them"
            )
    seeds = values.get("seeds", [base.seed])
    if not isinstance(seeds, list) or not seeds or len({*map(repr, seeds)}) < len(seeds):
        raise UserError(
            f"{file}: seeds: got {show(seeds)}, expected a list of different whole numbers, such as [0, 1, 2]"
        )
    for seed in seeds:
        _loaded(path, {"seed": seed}, f"{file}: seeds")
    select = values.get("select")
    if select is not None and (not isinstance(select, str) or select not in MEASURED):
        raise UserError(
            f"{file}: select: got {show(select)}, expected {describe(ValidationMetric)}: a figure of "
            "validation shards, never of test ones"
        )
    return Sweep(configs, tuple(seeds), select)


def _loaded(path: Path, fields: Mapping[str, Any], where: str) -> SimulationConfig:
    try:
        return load_config(path, fields)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _words(entry: Mapping[str, Any]) -> str:
    return ", ".join(f"{field}={show(value)}" for field, value in entry.items())


def _entries(file: Path, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """{field: value} of each combination: of the list, of the grid, or each entry with all of the grid.

    What an entry gives itself is not varied.
    """
    if "grid" not in values and "list" not in values:
        raise UserError(
            f"{file}: expected 'grid:' (every combination of {{field: [values]}}), 'list:' (entries "
            "{field: value}), or both (each entry with every combination), got neither"
        )
    grid, entries = values.get("grid", {}), values.get("list", [{}])
    if "grid" in values and (not isinstance(grid, dict) or not grid):
        raise UserError(
            f"{file}: grid: got {show(grid)}, expected fields with the values of each, such as "
            "method.name: [fedtp, fedavg]"
        )
    for field, choices in grid.items():
        if not isinstance(choices, list) or not choices:
            raise UserError(
                f"{file}: grid: {field}: got {show(choices)}, expected a list of values, such as [1, 5]"
            )
    if "list" in values and not (isinstance(entries, list) and entries and all(map(_is_entry, entries))):
        raise UserError(
            f"{file}: list: got {show(entries)}, expected entries such as "
            "{method.name: fedtp, training.local_epochs: 5}"
        )
    for kind, fields in (("grid", grid), ("list", itertools.chain(*entries))):
        for field in fields:
            if not isinstance(field, str) or field == "seed":
                raise UserError(
                    f"{file}: {kind}: {field}: is not a field to vary here; "
                    + ("give seeds: [0, 1, 2] beside it" if field == "seed" else "expected section.field")
                )
    combinations = []
    for entry in entries:
        varied = {field: choices for field, choices in grid.items() if field not in entry}
        for choice in itertools.product(*varied.values()):
            combinations.append({**entry, **dict(zip(varied, choice, strict=True))})
    return combinations


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and bool(entry)


def place(file: Path, sweep: Sweep, out: Path) -> list[Combination]:
    """Give each configuration the folder that holds it already, or a new one named by what varies.

    Raises UserError where a folder that would be new is taken.
    """
    if out.exists() and (not out.is_dir() or (out / "config.yaml").exists() or (out / "seeds.json").exists()):
        raise UserError(f"{out}: is not the folder of a sweep; choose another with --out")
    there = {path.parent: _config_of(path.parent) for path in sorted(out.glob("*/seeds.json"))}
    placed, names = [], _names(sweep.configs)
    for name, config in zip(names, sweep.configs, strict=True):
        same = [folder for folder, other in there.items() if not _differences(other, config)]
        folder = same[0] if same else out / name
        if folder in there and not same:
            raise UserError(
                f"{folder}: was run with another configuration "
                f"({'; '.join(_differences(there[folder], config))}); put {file} back as it was, or choose "
                "another folder with --out"
            )
        if not same:
            RunFolder.check_free(folder)
        placed.append(Combination(folder.name, config, folder, sweep.seeds))
    return placed


def make_folder(out: Path, combinations: Sequence[Combination], select: str | None = None) -> None:
    """The sweep's folder, if it is not there, with the order of its combinations, and what chooses."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        note_order(out, [c.name for c in combinations], combinations[0].seeds, select)
    except OSError as error:
        raise UserError(
            f"{out}: cannot be created ({error.strerror}); choose another folder with --out"
        ) from None


def _config_of(folder: Path) -> dict[str, Any]:
    """The configuration, as to_dict gives it, of a combination that was begun."""
    content = SeedsFolder(folder).read()
    assert content
    return content[0]


def _differences(there: Mapping[str, Any], config: SimulationConfig) -> list[str]:
    sides = completed(there), to_dict(config)
    return differences(*({**in_full(side), "seed": 0} for side in sides))


def _names(configs: Sequence[SimulationConfig]) -> list[str]:
    """A readable name for each that a file system, a shell and a URL take as it is."""
    plain, names = [to_dict(config) for config in configs], list[str]()
    differing = DifferingFields(plain)
    for config in plain:
        values = sorted(differing.of(config).items(), key=lambda pair: not pair[0].startswith("method."))
        words = ",".join(differing.words(dict(values))) or f"method={config['method']['name']}"
        name = re.sub(r"[^A-Za-z0-9.,=+-]+", "_", words)[:LONGEST]
        same = sum(other == name or other.startswith(f"{name}~") for other in names)
        names.append(f"{name}~{same + 1}" if same else name)
    return names


def check(file: Path, combinations: Sequence[Combination], select: str | None = None) -> None:
    """Raise UserError for one whose partition or model does not fit its data, before anything runs.

    Nor may a file hold anything else than what finished seeds were run on, or one lack what `select` needs.
    """
    # before anything here starts JAX
    hosts.split_cpu(max([1, *(d for c in combinations if (d := c.config.engine.devices) != "auto")]))
    data: dict[Any, Dataset] = {}
    for combination in sorted(combinations, key=lambda one: repr(one.config.data)):
        config = dataclasses.replace(combination.config, seed=combination.seeds[0])
        try:
            asked = config.data, config.task.kind
            if asked not in data:
                data = {asked: load(*asked)}  # one at a time: they may be large
            held = data[asked]
            partition = partition_of_run(config, held)
            if select and partition.validation is None:
                raise UserError(
                    f"select: {select}, but no example is set aside to choose by; give "
                    "partition.validation=0.1 too"
                )
            if select:
                check_choice("select", select, config.evaluation.metrics, config.task.kind)
            measures_of(config.evaluation.metrics, held.task, held.num_classes, held.is_text)
            spec = spec_of_run(config, held, partition)
            spec.build(config, check=True)
            for seed in combination.seeds:
                check_inputs(combination.run(seed), spec.inputs(config))
        except UserError as error:
            raise UserError(f"{file}: {combination.name}: {error}") from None
