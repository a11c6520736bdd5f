"""Optimizers by their optax names, and the clients' learning rate over the rounds."""

import inspect
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import optax

from fedtp_jax import config
from fedtp_jax.config.convert import show
from fedtp_jax.core.errors import UserError, in_one_line, nearest
from fedtp_jax.core.tree import Role

SCALES, TRIALS = (1e-3, 1e3), 12  # by which a learning rate is scaled for trial, and in how many steps
# lbfgs asks for the loss itself; noisy_sgd would draw the same noise for every client.
UNFIT = ("lbfgs", "noisy_sgd")


def make_optimizer(
    settings: config.Optimizer | config.Own,
    field: str,
    learning_rate: float,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    scaled: str = "",
) -> optax.GradientTransformation:
    """Clip the gradient, add the L2 decay to it (as PyTorch does, before momentum), then optax's optimizer.

    `field` is the dotted name of `settings` for errors; `scaled` that of the setting, if there is one, by
    which updates will be scaled in place of the learning rate. Raises UserError for a name or an argument
    that optax does not know or take, and where scaling the updates is not scaling the rate.
    """
    if isinstance(settings, config.Own):
        name, factory, arguments = settings.of, settings.value, {}
    else:
        name, factory = f"optax.{settings.name}", _factory(settings, field)
        arguments = {k: v for k, v in settings.arguments.items() if v or k != "momentum"}
    try:
        last = _loosely_typed(factory(learning_rate, **arguments))
        _try(last)
    except Exception as error:  # optax's own checks raise many kinds
        raise UserError(
            f"{field}: {name} cannot be used with {arguments} here "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__}); change its arguments "
            "or choose another optimizer"
        ) from None
    traced = isinstance(learning_rate, jax.core.Tracer)  # of several rates, each of which was tried
    if scaled and not traced and not _is_linear(factory, arguments, learning_rate):
        raise UserError(
            f"{scaled}: scales the updates of {name}, which are not proportional to its learning rate (by "
            f"trial); keep to one learning rate, or choose another optimizer for {field}"
        )
    first = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
    none = isinstance(weight_decay, float | int) and not weight_decay
    decay = [] if none else [optax.add_decayed_weights(weight_decay)]
    return optax.chain(*first, *decay, last)


def is_plain_sgd(settings: config.Optimizer | config.Own) -> bool:
    """Whether it is sgd with nothing beside its learning rate: no momentum, nor any other argument."""
    named = isinstance(settings, config.Optimizer) and settings.name == "sgd"
    return named and not any(settings.arguments.values())  # type: ignore[union-attr]


def _loosely_typed(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Allow the promotion between dtypes on which some of optax's optimizers rely, even where it is off."""

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return optimizer.update(updates, state, params)

    return optax.GradientTransformation(optimizer.init, update)


def _factory(settings: config.Optimizer, field: str) -> Any:
    names = [
        name
        for name in dir(optax)
        if _takes(getattr(optax, name))[:1] == ["learning_rate"]
        and not name.startswith(("_", "scale_by_"))
        and name not in UNFIT
    ]
    if settings.name not in names:
        raise UserError(
            f"{field}.name: optax has no optimizer {settings.name!r}{nearest(settings.name, names)}; "
            f"it has {', '.join(names)}"
        )
    factory = getattr(optax, settings.name)
    known = _takes(factory)[1:]
    for argument in settings.arguments:
        if argument not in known:
            raise UserError(
                f"{field}.{argument}: optax.{settings.name} has no such argument{nearest(argument, known)}; "
                f"it has {', '.join(known)} (the learning rate is a field beside the optimizer)"
            )
    return factory


def _takes(thing: Any) -> list[str]:
    """The names of a function's parameters, none for anything else."""
    return list(inspect.signature(thing).parameters) if inspect.isfunction(thing) else []


def _try(optimizer: optax.GradientTransformation) -> None:
    """Raise unless one update of a small tree can be traced."""
    leaves = {"kernel": np.ones((2, 2), np.float32), "bias": np.ones(2, np.float32)}
    jax.eval_shape(lambda w: optimizer.update(w, optimizer.init(w), w), leaves)


def _is_linear(factory: Any, arguments: Mapping[str, Any], learning_rate: float) -> bool:
    """Whether a few updates are proportional to the learning rate, gradients and leaves being the same."""
    weights = {
        "kernel": np.linspace(-1, 2, 6, dtype=np.float32).reshape(2, 3),
        "bias": np.ones(2, np.float32),
    }
    gradients = [
        jax.tree.map(lambda w, k=k: np.cos(3 * w + k).astype(np.float32), weights) for k in range(TRIALS)
    ]

    def updates(rate: float) -> list[Any]:
        optimizer, found = _loosely_typed(factory(rate, **arguments)), []
        state = optimizer.init(weights)
        for gradient in gradients:
            update, state = optimizer.update(gradient, state, weights)
            found.append(update)
        return found

    with jax.ensure_compile_time_eval():  # a method may be made while a program is traced
        whole = jax.tree.leaves(jax.device_get(updates(learning_rate)))
        return all(
            np.allclose(scale * a, b, rtol=1e-3, atol=1e-6 * scale * learning_rate)
            for scale in SCALES
            for a, b in zip(
                whole, jax.tree.leaves(jax.device_get(updates(scale * learning_rate))), strict=True
            )
        )


def learning_rate_factor(training: config.Training, round: int) -> float:
    """What the clients' learning rate is multiplied by in `round` (from 0): warm-up, then schedule."""
    schedule, warmup = training.schedule, training.warmup_rounds
    if round < warmup:
        return (round + 1) / warmup
    round, rounds = round - warmup, training.rounds - warmup
    if isinstance(schedule, config.Cosine):
        falling = (1.0 + math.cos(math.pi * round / rounds)) / 2
        return schedule.final + (1.0 - schedule.final) * falling
    if isinstance(schedule, config.Exponential):
        return schedule.decay**round
    if isinstance(schedule, config.Step):
        return float(schedule.factor ** (round // schedule.every))
    if isinstance(schedule, config.Own):
        return _own_factor(schedule, round)
    return 1.0


def learning_rate_factors(training: config.Training) -> list[float]:
    """Those of all rounds; UserError where a schedule of the user's own gives what none can be."""
    return [learning_rate_factor(training, round) for round in range(training.rounds)]


def _own_factor(schedule: config.Own, round: int) -> float:
    """What the user's function gives for `round`; UserError unless it is a finite number, at least 0."""
    try:
        with jax.numpy_dtype_promotion("standard"):  # optax's schedules rely on it
            factor = schedule.value(round)
        number = float(factor)
    except Exception as error:  # of the user's own code
        raise UserError(
            f"training.schedule: {schedule.of} fails for round {round} ({type(error).__name__}: "
            f"{in_one_line(error)}); give a function: round, counted from 0 -> factor of the learning rate"
        ) from None
    if not (math.isfinite(number) and number >= 0):
        raise UserError(
            f"training.schedule: {schedule.of} gives {show(factor)} for round {round}, expected a finite "
            "number, at least 0: the factor of the learning rate; change the function"
        )
    return number


def scale_updates(
    updates: Mapping[str, jax.Array],
    factor: jax.Array,
    roles: Mapping[str, Role],
    training: config.Training,
) -> dict[str, jax.Array]:
    """Updates times the round's `factor` and the ratio of the role's own learning rate to the common one."""

    def ratio(path: str) -> float:
        own = getattr(training.role_learning_rates, roles[path])
        return 1.0 if own is None else own / training.learning_rate

    return {path: update * (factor * ratio(path)) for path, update in updates.items()}
