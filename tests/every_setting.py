"""What every field of every kind does when it is set to another value: the table every_setting.md.

The result changes, or a message comes (an error, or that it has no effect), or the field is one of `NEVER`.
`python tests/every_setting.py` writes the table anew.
"""

import copy
import dataclasses
import functools
import typing
import warnings
from pathlib import Path

import conftest  # noqa: F401  sees to the devices
import jax
import numpy as np
from made_up_files import read_made_up
from method_cases import federation
from partition_cases import balanced
from tiny_run import TINY

from fedtp_jax import SimulationConfig, UserError, config, simulate
from fedtp_jax.config import Optimizer, default_of
from fedtp_jax.config.load import from_dict
from fedtp_jax.config.plain import flat, to_dict
from fedtp_jax.data.plays import Role
from fedtp_jax.data.text import from_roles
from fedtp_jax.partitions.make import make_partition
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.simulation.without_effect import settings_without_effect

TABLE = Path(__file__).with_suffix(".md")
NEVER = {  # how a run is laid out and kept, what the headline is a mean of, where files lie
    *("engine.devices", "engine.lanes", "engine.simulations", "engine.wave_size", "engine.rows"),
    *("checkpoint.every", "checkpoint.keep", "checkpoint.best", "evaluation.batch_size", "evaluation.last"),
    *("evaluation.clients_history", "data.directory", "data.file", "partition.file"),
    *("training.participation.trace", "training.clock.trace"),
}
# numbers that are not finite (tests/simulation/test_participation.py), what asks for a network, what takes
# half a minute (tests/simulation/test_privacy_spent.py)
ELSEWHERE = {
    "training.on_nonfinite": "ends a run that loses a client",
    "data.hub": "is another data set, from the network",
    "privacy.epsilon": "is what the noise is found for",
}
OTHER = {  # values for which no rule below would do
    "partition.seed": 5,
    "partition.min_size": 1100,
    **{"model.patch_size": 2, "training.augment": ("flip",)},
    "task.class_weights": (2.0, *(1.0,) * 9),
    "task.loss": "absolute_error",
    "upload": [{"name": "clip", "norm": 1e-3}],
    "privacy.noise_multiplier": 0.3,
    "privacy.quantile": 0.5,
    "server.aggregation": "median",
    **{"server.aggregation.share": 0.3, "server.aggregation.attackers": 0},
    **{"data.input": "x", "data.label": "other"},
    **{"data.train": "more", "data.test": "more"},
    **{"data.kind": "series", "data.padding": 9},
    **{"data.standardize": "client", "data.client": "who"},
    **{"data.split": "part", "data.columns": ("age",)},
    **{"data.impute": "mean", "data.levels": ("client", "class")},
    **{"data.size": (2, 2), "data.shape": (2, 3, 1)},
    "model.adapter.size": 3,
    "training.local_steps": 2,
    "training.clip_norm": 0.05,
    "training.participation.over_selection": 1.7,
    "training.participation.cohorts": [[0, 1, 2], [3, 4]],
    **{"training.participation.stragglers": 1.0, "training.participation.straggler_share": 0.9},
    **{"training.participation.minimum": 3, "training.clock.deadline": 1.0},
    **{"training.held_out": 1, "training.stop.patience": 1},
    "training.schedule": "cosine",
    "training.schedule.every": 1,
    "training.warmup_rounds": 2,
    **{"evaluation.clients": 2, "evaluation.metrics": ["f1_macro"]},
    **{"evaluation.adapt.epochs": 1, "evaluation.adapt.steps": 2},
    "evaluation.adapt.leaves": ("head/",),
    **{"method.hypernetwork.embedding_update": "sparse", "method.hypernetwork.rank": 2},
    "evaluation.every": 1,
    **dict.fromkeys(("method.personal", "method.shared", "method.fixed"), ("head/kernel",)),
    "method.generated": ("query/kernel",),
}
BACKDOOR = {"adversaries.clients": 0.5, "adversaries.kind": "backdoor"}
BESIDE = {  # what else a field takes to have something to do
    "training.participation": {"training.participation": {"dropout": 0.4, "stragglers": 0.5}},
    "training.participation.straggler_share": {"training.participation": {"stragglers": 1.0}},
    "training.participation.cohorts": {"training.cohort_size": config.Training().cohort_size},
    "training.clock": {"training.clock.speed": 5.0, "training.clock.down": 1e6},
    "training.clock.late": {"training.clock.deadline": 1.0},
    "training.stop": {"partition.validation": 0.3},
    "training.stop.patience": {"training.learning_rate": 1e-9, "training.rounds": 4, "evaluation.every": 1},
    "privacy": {"training.participation.sampling": "poisson", "server.weighting": "uniform"},
    **{f"privacy.{name}": {"privacy.noise_multiplier": 0.5} for name in ("delta", "clip", "quantile")},
    "server.aggregation": {"server.weighting": "uniform", "training.cohort_size": 5},
    "server.aggregation.share": {"partition.clients": 12, "training.cohort_size": 10},
    "adversaries.kind": {"adversaries.clients": 0.5},
    "adversaries.factor": {"adversaries.clients": 0.5, "adversaries.kind": "boost"},
    **{f"adversaries.{name}": BACKDOOR for name in ("target", "trigger", "poisoned")},
    **{f"evaluation.knn.{name}": {"evaluation.knn.weight": 0.5} for name in ("neighbors", "capacity")},
    **{f"evaluation.adapt.{name}": {"evaluation.adapt.epochs": 1} for name in ("learning_rate", "leaves")},
    "method.hypernetwork.embedding_update": {"training.rounds": 3},
    "method.hypernetwork.rank": {"method.hypernetwork.base": True},
    "method.statistics": {"model": {"name": "cnn_bn", "kernels": 1}},
    "compat": {"evaluation.knn.weight": 0.9},
    "data.standardize": {"data.client": "who"},
    "data.kind": {"data.input": "steps", "data.kind": "image"},
    "data.padding": {"data.input": "ids", "data.kind": "tokens"},
    "model.dropout": {},
    "model.adapter.scale": {"model.adapter.size": 3},
}
BASE = dataclasses.replace(
    TINY,
    partition=config.Dirichlet(clients=6, min_size=1),
    training=config.Training(rounds=3, cohort_size=3, batch_size=64, learning_rate=0.1),
    evaluation=config.Evaluation(every=3),
)
HYPER = {"embedding": 4, "hidden": 6, "layers": 1}
WITH_HYPERNETWORK = ("pfedhn", "fedtp", "fedtp_per", "fedtp_rod")
SMALL = {"vit": {"name": "vit", **dataclasses.asdict(TINY.model)}} | {
    name: {"name": name, "hypernetwork": HYPER} for name in WITH_HYPERNETWORK
}
NAME_OF = {  # of those that are chosen by name inside a section, the one that has such a field
    "training.schedule": {"final": "cosine", "decay": "exponential", "every": "step", "factor": "step"},
    "server.aggregation": {
        "share": "trimmed_mean",
        **dict.fromkeys(("attackers", "selected"), "krum"),
    },
}
OF_CIFAR_100 = ("superclass", "pachinko", "noniid-labeldir100", "iid-label100")


def fields():
    """(section's kind or "", dotted field) of every field, kinds by their names."""
    for field in dataclasses.fields(SimulationConfig):
        for kind, part in (field.metadata.get("kinds") or {"": field.default_factory}).items():
            if part is dataclasses.MISSING:
                yield "", field.name
            else:
                names = _inside(part, f"{field.name}.")
                yield from ((kind, name) for name in names if not _is_elsewhere(kind, name))


def _is_elsewhere(kind, field):
    """What several kinds have in common is looked at in one of them."""
    common = {"method.hypernetwork": "fedtp", "model.adapter": "vit", "partition.validation": "iid"}
    return any(f"{field}.".startswith(f"{name}.") and kind != one for name, one in common.items())


def _inside(part, prefix):
    for field in dataclasses.fields(part):
        kinds, default = field.metadata.get("kinds"), default_of(field)
        if kinds:
            yield f"{prefix}{field.name}"
            for kind in kinds.values():
                yield from _inside(kind, f"{prefix}{field.name}.")
        elif dataclasses.is_dataclass(default) and not isinstance(default, Optimizer):
            yield from _inside(type(default), f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def another(kind, field, default):
    """A value that is not the default one."""
    if field in OTHER and (kind, field) != ("emnist", "data.split"):  # there a name, here a column
        return OTHER[field]
    if field.endswith("optimizer"):
        return {"name": "adam"}
    choices = _choices(kind, field)
    if choices:
        return next(choice for choice in choices if choice != default)
    if isinstance(default, bool):
        return not default
    if default is None:
        return 0.02
    return default + 1 if isinstance(default, int) else default / 2 or 0.5


def _choices(kind, field):
    """Of a field that is one of some words."""
    named = {f"{field.split('.')[0]}.name": kind} if kind else {}
    part = from_dict(plain(BASE), named | ({"data.file": "my.csv"} if kind == "table" else {}))
    *sections, last = field.split(".")
    for name in sections:
        part = getattr(part, name)
    hint = typing.get_type_hints(type(part)).get(last)
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def plain(settings):
    return copy.deepcopy(to_dict(settings))


def outcome(kind, field):
    """What came of another value: "result", "nothing", or the message."""
    section = field.split(".")[0]
    given = {f"{section}.name": kind} if kind else {}
    if (section == "model" and kind == "vit") or (section == "method" and kind in WITH_HYPERNETWORK):
        given = {section: SMALL[kind]}
    for where, beside in BESIDE.items():
        if f"{field}.".startswith(f"{where}."):
            given |= beside
    part, _, last = field.rpartition(".")
    if part in NAME_OF:
        given[f"{part}.name"] = NAME_OF[part][last]
    if kind == "fedperfix":
        given["model.adapter.size"] = 3
    if section == "model":
        given["method"] = "fedavg"
    if kind == "table":
        given["data.file"] = "my.csv"
    if kind in ("fedrep", "fedpac"):
        given["training.local_epochs"] = 4
    before = from_dict(plain(BASE), given)
    assert _compare(section, kind, field, before, before) == "nothing", "and no message without the field"
    found = flat(to_dict(before))
    value = another(kind, field, found.get(field))
    if field in NAME_OF:
        field, value = f"{field}.name", value
    assert value != found.get(field), field
    try:
        after = from_dict(to_dict(before), {field: value})
        return _compare(section, kind, field, before, after)
    except UserError as error:
        return str(error)
    except UserWarning as warning:
        return str(warning)


def cifar_100():
    return balanced(20_000, 4_000, classes=100)


def _plays(settings):
    """The data of three made-up roles."""
    words = "to be or not", "to be that is the question", "whether it is nobler", "in the mind to suffer"
    made = from_roles(
        settings, [Role("A", name, words[:count]) for name, count in (("X", 4), ("Y", 3))], "made up"
    )
    return made.fingerprint(), made.class_weights


def _compare(section, kind, field, before, after):
    if section == "data":
        read = _plays if kind == "shakespeare" else read_made_up
        held = [read(settings.data) for settings in (before, after)]
        return "result" if held[0] != held[1] else "nothing"
    if section == "partition":
        labels = cifar_100() if kind in OF_CIFAR_100 else balanced(8000, 2000)
        made = [make_partition(settings.partition, labels, 0) for settings in (before, after)]
        same = made[0].fingerprint() == made[1].fingerprint() and np.array_equal(made[0].noise, made[1].noise)
        told = settings_without_effect(after, None, made[1], np.arange(made[1].num_clients))
        return "result" if not same else told[0] if told and after != before else "nothing"
    if section == "model" and field not in ("model.dropout", "model.adapter.scale", "model.pool"):
        data, partition = federation(kind)
        shapes = [
            DataSpec.of(data, partition).build(settings)[0].leaf_shapes() for settings in (before, after)
        ]
        return "nothing" if shapes[0] == shapes[1] else "result"
    return "nothing" if _run(before) == _run(after) else "result"


@functools.lru_cache(maxsize=8)
def _run(settings):
    """All that a run of these settings gives, as bytes."""
    own = {config.Transformer: "transformer", config.Lstm: "lstm", config.CnnBn: "cnn_bn"}.get(
        type(settings.model)
    )
    data = federation(own)[0] if own else None
    result = simulate(settings, **({"data": data} if data else {}))
    leaves = jax.tree.leaves(result.state._replace(rows=result.state.rows.take(np.arange(6))))
    return result.history.to_csv() + result.clients.to_csv(), b"".join(
        np.asarray(leaf).tobytes() for leaf in leaves
    )


def rows():
    """Of the table: what came of every field."""
    yield "| kind | field | set to another value |"
    yield "| --- | --- | --- |"
    for kind, field in fields():
        never = "never changes a result" if field in NEVER else ELSEWHERE.get(field)
        came = never or outcome(kind, field)
        came = {"result": "the result changes", "nothing": "NOTHING"}.get(came, came).replace("|", "\\|")
        yield f"| {kind} | `{field}` | {came} |"


def main():
    """Write the table."""
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "dropped, as set for another name")
    lines = []
    for line in rows():
        print(line, flush=True)
        lines.append(line)
    head = "# What every setting does", "Written by `python tests/every_setting.py`.", "\n".join(lines)
    TABLE.write_text("\n\n".join(head) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
