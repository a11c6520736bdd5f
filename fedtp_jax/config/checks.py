"""What no single field can tell: fields that contradict each other, and values out of bounds."""

import dataclasses
from typing import Any

from fedtp_jax.config import (
    Evaluation,
    Krum,
    Mean,
    Optimizer,
    Own,
    Participation,
    SimulationConfig,
    Table,
    TrimmedMean,
    Uploads,
    name_of,
)
from fedtp_jax.config.aggregation import COUNTING_ALIKE
from fedtp_jax.config.clock import check_clock
from fedtp_jax.config.convert import show
from fedtp_jax.config.metrics import FURTHER, HEADLINES, check_choice
from fedtp_jax.config.task import LOSSES
from fedtp_jax.config.upload import ORDER
from fedtp_jax.core.errors import UserError

_BOUNDS = {
    "gt": (lambda value, bound: value > bound, "greater than"),
    "ge": (lambda value, bound: value >= bound, "at least"),
    "lt": (lambda value, bound: value < bound, "less than"),
    "le": (lambda value, bound: value <= bound, "at most"),
}

CLOSE = 1e-3  # of a client, by which a share of them may be rounded up


def check(settings: SimulationConfig) -> None:
    """Raise UserError for a value out of bounds or fields that contradict each other."""
    wanted = settings.adversaries.clients
    if isinstance(wanted, float) and wanted > 1:
        raise UserError(
            f"adversaries.clients: {wanted:g} is no share of the clients; for clients by number give a list, "
            f"[{wanted:g}]"
        )
    _check_bounds(settings, "")
    clients, training = getattr(settings.partition, "clients", None), settings.training
    cohort, held_out = training.cohort_size, training.held_out
    if clients is not None and 0 < clients <= held_out:
        raise UserError(
            f"training.held_out: {held_out} of partition.clients = {clients} leaves none to train; hold out "
            "fewer"
        )
    if clients is not None and training.participation.cohorts is None and cohort > clients - held_out:
        less = f" - training.held_out = {clients} - {held_out}" if held_out else f" = {clients}"
        raise UserError(
            f"training.cohort_size: {cohort} is more than partition.clients{less}; "
            f"use at most {max(clients - held_out, 0)}, or more clients"
        )
    _check_participation(training.participation)
    check_clock(training.clock)
    if training.local_steps is not None and training.local_epochs != 1:
        raise UserError(
            f"training.local_steps: {training.local_steps}, but training.local_epochs is "
            f"{training.local_epochs} too; give one of them"
        )
    _check_adaptation(settings.evaluation)
    _check_task(settings)
    measured = settings.evaluation.metrics, settings.task.kind
    if training.stop.patience:
        check_choice("training.stop.metric", training.stop.metric, *measured)
    if settings.checkpoint.best:
        check_choice("checkpoint.best", settings.checkpoint.best, *measured)
    for section, field in (("data", "file"), ("partition", "file")):
        part = getattr(settings, section)
        if hasattr(part, field) and getattr(part, field) is None:
            name, ending = name_of(part), "csv" if isinstance(part, Table) else "npz"
            raise UserError(
                f"{section}.{field}: {section} {name!r} needs a path, such as {section}.{field}=my.{ending}"
            )
    _check_rules(settings.method)
    _check_upload(settings.upload)
    _check_privacy(settings)
    _check_aggregation(settings)


def _check_task(settings: SimulationConfig) -> None:
    task, kind = settings.task, settings.task.kind
    if task.loss not in (None, *LOSSES[kind]):
        raise UserError(
            f"task.loss: {task.loss!r} is none of task.kind={kind}; choose {' or '.join(LOSSES[kind])}"
        )
    headline, metrics = HEADLINES[kind], settings.evaluation.metrics
    strange = [m for m in metrics if isinstance(m, str) and m not in (headline, *FURTHER[kind])]
    if strange:
        raise UserError(
            f"evaluation.metrics: {strange[0]} is not measured where task.kind is {kind}; choose some of "
            f"{', '.join((headline, *FURTHER[kind]))}, or set task.kind"
        )
    if kind == "classification":
        return
    of_classes = {
        "task.class_weights": task.class_weights != "none",
        "task.label_smoothing": task.label_smoothing > 0,
        "evaluation.knn.weight": settings.evaluation.knn.weight > 0,
    }
    if asked := [field for field, given in of_classes.items() if given]:
        raise UserError(
            f"{asked[0]}: is for examples of one class each, but task.kind is {kind}; leave it out"
        )


def _check_privacy(settings: SimulationConfig) -> None:
    """Raise UserError for what a guarantee does not cover."""
    privacy, part = settings.privacy, settings.training.participation
    if not privacy.asked_for:
        given = [f.name for f in dataclasses.fields(privacy) if getattr(privacy, f.name) != f.default]
        if given:
            raise UserError(
                f"privacy.{given[0]}: {getattr(privacy, given[0])}, but a run is private only with "
                "privacy.epsilon or privacy.noise_multiplier; give one of them, or privacy=null"
            )
        return
    if privacy.epsilon is not None and privacy.noise_multiplier is not None:
        raise UserError(
            f"privacy.noise_multiplier: {privacy.noise_multiplier}, but privacy.epsilon is given too, for "
            "which the noise is found; leave one out"
        )
    if part.sampling != "poisson" or part.cohorts is not None:
        raise UserError(
            "privacy: is accounted for Poisson cohorts, to which every client comes by a coin of its own; "
            "set training.participation.sampling=poisson"
        )
    if part.minimum > 1:
        raise UserError(
            f"training.participation.minimum: {part.minimum}, but a void round would tell how many clients "
            "came, which privacy keeps; leave it out"
        )
    if settings.server.weighting != "uniform":
        raise UserError(
            "privacy: clients' weights by their examples would tell how many they hold; set "
            "server.weighting=uniform"
        )
    if settings.task.class_weights == "balanced":
        raise UserError(
            "task.class_weights: balanced counts all clients' labels in clear, which privacy keeps; give the "
            "weights themselves, or leave it out"
        )
    if settings.upload:
        raise UserError(
            "upload: beside privacy, which clips what clients send and adds its noise to their sum; leave "
            "one of them out"
        )


def _check_aggregation(settings: SimulationConfig) -> None:
    """Raise UserError for a rule beside settings that it cannot heed."""
    rule, part = settings.server.aggregation, settings.training.participation
    if isinstance(rule, Mean):
        return
    field, name = "server.aggregation", name_of(rule)
    if settings.privacy.asked_for:
        raise UserError(
            f"{field}: {name} beside privacy, whose noise is on the sum of what clients send; leave one out"
        )
    if isinstance(rule, COUNTING_ALIKE):
        if settings.server.weighting != "uniform":
            raise UserError(
                f"{field}: {name} counts every client as much as any other; set server.weighting=uniform"
            )
        if part.cohorts is None and part.sampling in ("with_replacement", "by_examples"):
            raise UserError(
                f"{field}: {name} counts a client once, but training.participation.sampling "
                f"{part.sampling!r} may draw it several times; choose without_replacement or poisson"
            )
    cohort = settings.training.cohort_size
    if isinstance(rule, TrimmedMean) and part.cohorts is None and 0 < rule.share * cohort < 1 - CLOSE:
        raise UserError(
            f"{field}.share: {rule.share} of training.cohort_size {cohort} is nobody, so nothing would be "
            f"left out; give at least {1 / cohort:.3g}"
        )
    if isinstance(rule, Krum) and part.cohorts is None:
        attackers = max((cohort - 3) // 2, 0) if rule.attackers is None else rule.attackers
        if cohort < 2 * attackers + 3:
            raise UserError(
                f"{field}.attackers: {attackers} of training.cohort_size {cohort}, but Krum asks for cohorts "
                f"of 2 x attackers + 3; give a cohort of at least {2 * attackers + 3}"
            )
        if rule.selected > cohort - attackers:
            raise UserError(
                f"{field}.selected: {rule.selected}, but only {cohort - attackers} of a cohort are no "
                "attackers; select fewer"
            )


def _check_upload(steps: Uploads) -> None:
    """Raise UserError for steps in another order than they can be taken."""
    places = [next(k for k, kinds in enumerate(ORDER) if isinstance(one, kinds)) for one in steps]
    for one, before, place in zip(steps[1:], places, places[1:], strict=False):
        if place <= before:
            raise UserError(
                f"upload: {name_of(one)} cannot come after {name_of(steps[places.index(before)])}; the order "
                "is clip, noise, top_k or random_k, quantize or sign, each once"
            )
    if places and places[0] == 1:
        raise UserError(
            "upload: noise is in norms of a clip, and there is none before it; put {name: clip, norm: 1.0} "
            "first"
        )


def _check_participation(part: Participation) -> None:
    cohorts = part.cohorts
    if cohorts is None and part.over_selection > 1 and part.sampling != "without_replacement":
        raise UserError(
            f"training.participation.over_selection: {part.over_selection}, but with sampling "
            f"{part.sampling!r} a cohort is what the draw gives, and nobody is too many; leave one out"
        )
    if cohorts is not None and not isinstance(cohorts, str) and not (cohorts and all(cohorts)):
        given = f"round {cohorts.index(()) + 1} has no client" if cohorts else "got no cohort at all"
        raise UserError(
            f"training.participation.cohorts: {given}; give a list of clients for each round, [[0, 1], [2]]"
        )


def _check_rules(method: Any) -> None:
    """Raise UserError for an expression that gives leaves two roles, and settings that need or bar a base."""
    hypernetwork = getattr(method, "hypernetwork", None)
    if hypernetwork and hypernetwork.rank is not None and not hypernetwork.base:
        raise UserError(
            f"method.hypernetwork.rank: {hypernetwork.rank}, but matrices of low rank alone make no model; "
            "set method.hypernetwork.base=true too"
        )
    if hypernetwork and hypernetwork.spectral_norm and hypernetwork.base:
        raise UserError(
            "method.hypernetwork.spectral_norm: true, but beside a base the last layers begin at zero, which "
            "has no direction to keep; leave out one of the two"
        )
    role_of: dict[str, str] = {}
    for role in ("generated", "personal", "shared", "fixed"):
        for pattern in getattr(method, role, ()):
            if (other := role_of.setdefault(pattern, role)) != role:
                raise UserError(
                    f"method.{role}: {pattern!r} is in method.{other} too; a leaf has one role, name it once"
                )


def _check_adaptation(evaluation: Evaluation) -> None:
    adapt, neighbors = evaluation.adapt, evaluation.knn.weight
    if evaluation.fit and neighbors:
        raise UserError(
            f"evaluation.knn.weight: {neighbors}, but on a client's train shard (evaluation.fit) every "
            "example is its own nearest neighbour; leave one of the two out"
        )
    if adapt.epochs is not None and adapt.steps is not None:
        raise UserError(
            f"evaluation.adapt.steps: {adapt.steps}, but evaluation.adapt.epochs is {adapt.epochs} too; give "
            "one of them"
        )
    if adapt.asked_for and neighbors:
        raise UserError(
            f"evaluation.knn.weight: {neighbors}, but clients that adapt (evaluation.adapt) predict by their "
            "model alone; leave one of the two out"
        )


def _check_bounds(part: Any, where: str) -> None:
    for field in dataclasses.fields(part):
        value, dotted = getattr(part, field.name), where + field.name
        if isinstance(value, Optimizer | Own):
            continue  # optax knows its bounds
        inner = {dotted: value}
        if field.metadata.get("chain"):
            inner = {f"{dotted}.{k}": one for k, one in enumerate(value)}
        if parts := {place: one for place, one in inner.items() if dataclasses.is_dataclass(one)}:
            for place, one in parts.items():
                _check_bounds(one, f"{place}.")
            continue
        bounds = {"lt": 2**31, **field.metadata} if type(value) is int else field.metadata
        for key, (holds, words) in _BOUNDS.items():
            if key in bounds and isinstance(value, int | float):
                bound = bounds[key]
                if not holds(value, bound):
                    raise UserError(f"{dotted}: got {show(value)}, expected a number {words} {bound}")
