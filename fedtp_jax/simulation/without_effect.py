"""Settings that change nothing beside the others: each is told in one line, and the run goes on."""

import dataclasses
import math
from typing import Any

import numpy as np

from fedtp_jax.config import (
    Clock,
    Cosine,
    FedAMP,
    FedBN,
    FedProto,
    FedTPPrior,
    Hypernetwork,
    IidLabel100,
    Local,
    Lstm,
    Mean,
    Optimizer,
    PeFLL,
    PerFedAvg,
    SimulationConfig,
    Step,
    Transformer,
    Vit,
)
from fedtp_jax.config.simulation import default_of
from fedtp_jax.learning.task import STATISTICS, Task
from fedtp_jax.partitions.partition import Partition

OF_BACKDOORS = "factor", "target", "trigger", "poisoned"


def settings_without_effect(
    settings: SimulationConfig, task: Task, partition: Partition, clients: np.ndarray, unfused: str = ""
) -> list[str]:
    """A line for each setting that was given and has no effect in this run, in which `clients` take part.

    `unfused`: why attention could not be fused anyway, or "".
    """
    tested = int((partition.test.sizes[clients] > 0).sum())
    reasons = _evaluation(settings, task, tested, partition.noise is not None)
    sizes = partition.train.sizes[clients]
    reasons |= _participation(settings, int((sizes > 0).sum())) | _training(settings)
    reasons |= _clock(settings.training.clock) | _adversaries(settings)
    reasons |= _method(settings, task) | _weighting(settings, sizes[sizes > 0])
    if isinstance(settings.model, Vit | Transformer) and settings.model.adapter.size is None:
        reasons["model.adapter.scale"] = "model.adapter.size is null: there is no adapter"
    if isinstance(settings.model, Transformer | Lstm) and task.inputs.each_position:
        reasons["model.pool"] = "each position of a text has a label"
    if unfused:
        reasons["engine.attention"] = f"attention is xla's anyway: {unfused}"
    if isinstance(settings.partition, IidLabel100):
        reasons["partition.seed"] = "the authors' recipe seeds itself"
    return [
        f"{field}: {_value(settings, field)!r} has no effect, since {why}"
        for field, why in reasons.items()
        if _value(settings, field) != _default(settings, field)
    ]


def _evaluation(settings: SimulationConfig, task: Task, tested: int, noisy: bool) -> dict[str, str]:
    evaluation, reasons = settings.evaluation, dict[str, str]()
    if not evaluation.knn.weight:
        no_neighbors = "evaluation.knn.weight is 0"
        reasons |= {"evaluation.knn.neighbors": no_neighbors, "evaluation.knn.capacity": no_neighbors}
    if not evaluation.adapt.asked_for:
        nobody = "evaluation.adapt has neither epochs nor steps"
        reasons |= {"evaluation.adapt.learning_rate": nobody, "evaluation.adapt.leaves": nobody}
    wanted = evaluation.clients or 0
    if (wanted if isinstance(wanted, int) else len({*wanted})) >= tested:
        reasons["evaluation.clients"] = f"there are {tested} clients to evaluate, which all are"
    causal = isinstance(settings.model, Transformer) and task.inputs.each_position
    if not causal and not noisy and not evaluation.knn.weight:
        reasons["compat"] = (
            "it is about the text transformer, noise on inputs and nearest neighbours alone, and none is here"
        )
    return reasons


def _participation(settings: SimulationConfig, candidates: int) -> dict[str, str]:
    training, part, where = settings.training, settings.training.participation, "training.participation"
    reasons = {}
    if not part.stragglers:
        reasons[f"{where}.straggler_share"] = f"{where}.stragglers is 0"
    if part.straggler_share == 1:
        reasons[f"{where}.stragglers"] = f"{where}.straggler_share is 1"
    if training.local_steps == 1:
        reasons[f"{where}.stragglers"] = "training.local_steps is 1, and nobody does less than a step"
    drawn = part.cohorts is None
    sure = not part.dropout and not part.trace and training.clock.deadline is None
    if sure and drawn and part.sampling == "without_replacement":
        reasons[f"{where}.minimum"] = "every client that is asked returns"
    if math.ceil(round(training.cohort_size * part.over_selection, 9)) == training.cohort_size:
        reasons[f"{where}.over_selection"] = f"no more than the {training.cohort_size} of a cohort are asked"
    if not drawn:
        fields = [f"{where}.sampling", f"{where}.over_selection"]
        if settings.adversaries.kind != "boost":  # which takes its factor from it
            fields.append("training.cohort_size")
        reasons |= dict.fromkeys(fields, f"{where}.cohorts says who")
    elif part.sampling == "poisson" and training.cohort_size == candidates and not settings.privacy.asked_for:
        reasons[f"{where}.sampling"] = f"all {candidates} clients with train examples are drawn anyway"
    return reasons


def _clock(clock: Clock) -> dict[str, str]:
    where, reasons = "training.clock", {}
    if clock.trace is not None:
        reasons = dict.fromkeys(
            (f"{where}.speed_sigma", f"{where}.link_sigma"), f"{where}.trace has them all"
        )
    else:
        if clock.speed is None:
            reasons |= dict.fromkeys((f"{where}.unit", f"{where}.speed_sigma"), f"{where}.speed is null")
        if clock.down is None and clock.up is None:
            reasons[f"{where}.link_sigma"] = f"{where}.down and up are null"
    if clock.deadline is None:
        reasons[f"{where}.late"] = f"{where}.deadline is null"
    return reasons


def _training(settings: SimulationConfig) -> dict[str, str]:
    training, reasons = settings.training, {}
    scheduled = training.rounds - training.warmup_rounds
    evaluations = math.ceil(training.rounds / settings.evaluation.every)
    if training.stop.patience is None:
        reasons["training.stop.metric"] = "training.stop.patience is null"
    elif training.stop.patience >= evaluations - 1:
        reasons["training.stop.patience"] = f"the last of {evaluations} evaluations would come first"
    if training.warmup_rounds == 1:
        reasons["training.warmup_rounds"] = "the only round of the warm-up has all of the learning rate"
    if scheduled <= 0:
        reasons["training.schedule"] = f"the warm-up takes all of the {training.rounds} rounds"
    if isinstance(training.schedule, Cosine) and training.schedule.final == 1:
        reasons["training.schedule.final"] = "the learning rate stays what it is"
    if isinstance(training.schedule, Step) and training.schedule.every >= scheduled:
        first = training.warmup_rounds + training.schedule.every
        never = f"the first step would come after round {first}, of {training.rounds}"
        reasons |= {"training.schedule.every": never, "training.schedule.factor": never}
    return reasons


def _weighting(settings: SimulationConfig, sizes: np.ndarray) -> dict[str, str]:
    """`sizes` of the clients that may train."""
    field = "server.weighting"
    if settings.privacy.asked_for or not isinstance(settings.server.aggregation, Mean):  # which ask for it
        return {}
    if isinstance(settings.method, FedAMP | FedProto | Local):
        return {field: "the method has no mean to which clients come by their weights"}
    if len(sizes) and (sizes == sizes[0]).all():
        return {field: "all clients hold equally many train examples"}
    return {}


def _adversaries(settings: SimulationConfig) -> dict[str, str]:
    adversaries, of_kind = settings.adversaries, {"boost": ("factor",), "backdoor": OF_BACKDOORS}
    fields = ("kind", *OF_BACKDOORS) if not adversaries.asked_for else OF_BACKDOORS
    used = of_kind.get(adversaries.kind, ()) if adversaries.asked_for else ()
    why = f"adversaries.kind is {adversaries.kind}" if adversaries.asked_for else "adversaries.clients is 0"
    return {f"adversaries.{field}": why for field in fields if field not in used}


def _method(settings: SimulationConfig, task: Task) -> dict[str, str]:
    method, reasons = settings.method, {}
    if isinstance(method, FedBN) and not any(path.startswith(STATISTICS) for path in task.leaf_shapes()):
        reasons["method.statistics"] = "the model keeps no running statistics"
    if isinstance(method, PerFedAvg) and settings.training.batch_size == 1:
        reasons["method.inner_learning_rate"] = "training.batch_size is 1: none is left for it"
    if isinstance(method, PeFLL):
        reasons["method.hypernetwork.embedding_update"] = "embeddings are computed, none is learnt"
    if isinstance(method, FedTPPrior) and not method.generated:
        names = (field.name for field in dataclasses.fields(method.hypernetwork))
        reasons |= {f"method.hypernetwork.{name}": "method.generated is empty" for name in names}
    hypernetwork = getattr(method, "hypernetwork", None)
    if isinstance(hypernetwork, Hypernetwork) and not hypernetwork.weight_decay:
        optimizer = hypernetwork.optimizer
        plain = isinstance(optimizer, Optimizer) and not optimizer.arguments.get("momentum")
        if plain and optimizer.name == "sgd":
            reasons["method.hypernetwork.embedding_update"] = (
                "plain sgd without decay moves no embedding of an absent client"
            )
    return reasons


def _value(settings: Any, field: str) -> Any:
    for name in field.split("."):
        settings = getattr(settings, name)
    return settings


def _default(settings: Any, field: str) -> Any:
    *sections, last = field.split(".")
    section = _value(settings, ".".join(sections)) if sections else settings
    (found,) = (one for one in dataclasses.fields(section) if one.name == last)
    return default_of(found)
