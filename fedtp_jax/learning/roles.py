"""How a method is built from the roles of the model's leaves (shared, personal, generated, fixed).

| role | who stores it | what the server does with it |
|---|---|---|
| shared | one copy on the server | weighted mean over the cohort, or a server optimizer's step towards it |
| personal | N rows, one per client, never uploaded | the cohort's rows are put back |
| generated | nobody: hypernetwork(client's embedding) | one vjp with cotangents p_k * (sent_k - returned_k) |
| generated, with a base | beside that one copy, to which it is added | both of the above |
| fixed | one copy, the same at every client from the start | nothing: neither trained nor sent |
"""

import dataclasses
import typing
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fedtp_jax import config
from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError, nearest
from fedtp_jax.core.rng import Purpose
from fedtp_jax.core.tree import Leaves, Role
from fedtp_jax.learning.generator import Generator
from fedtp_jax.learning.local_training import After, Objective, Phase, local_training, plain_objective
from fedtp_jax.learning.method import EMBEDDING, Description, Kept, Method, Received, State, Upload, own
from fedtp_jax.learning.optimizers import is_plain_sgd, make_optimizer
from fedtp_jax.learning.task import STATISTICS, Task
from fedtp_jax.models.descriptor import Descriptor

ROLES = typing.get_args(Role)
Rule = tuple[Role, tuple[str, ...]]


def role_method(
    task: Task,
    rules: list[Rule],
    hypernetwork: config.Hypernetwork = config.Hypernetwork(),
    objective: Objective = plain_objective,
    after: After | None = None,
    extra: Mapping[str, Callable[[jax.Array], jax.Array]] | None = None,
    phase: Phase | None = None,
    descriptor: Descriptor | None = None,
    known: Sequence[str] = (),
) -> Method:
    """The method that `rules` describe (first match wins).

    `objective`, `after` and `phase` are local_training's; `extra` maps paths of personal leaves beside the
    model's to how one client's is initialised from a key of its own. They train by the objective, unless
    `after` gives what becomes of them; those that are `known` never change. `descriptor` computes clients'
    embeddings, which learn otherwise.
    """
    _check_names(rules)
    shapes, extra = task.leaf_shapes(), extra or {}
    roles = _roles_of(task, list(shapes), rules, extra.keys() - {*known})
    generated = {path: shapes[path].shape for path in roles if roles[path] == "generated"}
    generator = Generator(task, generated, hypernetwork, descriptor)
    based = generated if generator.base else {}
    server = _Server(task.server, {path for path, role in roles.items() if role == "shared"} | {*based})

    def init(key: jax.Array, ids: jax.Array) -> State:
        model_key = jax.random.fold_in(key, Purpose.MODEL)
        leaves = tree.flatten(task.init(model_key))
        rows = tree.repeated(tree.select(leaves, roles, "personal"), len(ids))
        keys = jax.vmap(lambda k: jax.random.fold_in(model_key, k))(ids)
        rows |= {path: jax.vmap(make)(_key_of(path, keys)) for path, make in extra.items()}
        shared = {**tree.select(leaves, roles, "shared", "fixed"), **{path: leaves[path] for path in based}}
        generator_key = jax.random.fold_in(key, Purpose.HYPERNETWORK)
        given = None if task.given is None else {path: leaves[path] for path in generated}
        phi = generator.init(generator_key, given)
        rows |= generator.init_rows(generator_key, ids)
        return State(shared, rows, phi, generator.optimizer.init(phi), server.init(shared))

    def realize(shared: Leaves, phi: Leaves, own: Leaves) -> Leaves:
        personal = {path: rows for path, rows in own.items() if path != EMBEDDING}
        made = generator.apply(phi, own[EMBEDDING]) if EMBEDDING in own else {}
        return {
            **personal,
            **{path: shared[path] + leaf if path in based else leaf for path, leaf in made.items()},
        }

    def send(state: State) -> tuple[Leaves, Leaves]:
        return state.shared, realize(state.shared, state.generator, own(state.rows))

    def receive(state: State, kept: Kept) -> Received:
        return Received(kept.personal, *generator.gradient(state.generator, state.rows, kept.cotangent))

    def aggregate(state: State, upload: Upload, gradient: Leaves) -> State:
        whole = 1.0 / upload.weight  # 1 up to rounding, unless clients were excluded
        phi, phi_opt = generator.step(state.generator, state.generator_opt, tree.scale(gradient, whole))
        shared, opt = server.step(state.shared, state.server_opt, tree.scale(upload.shared, whole))
        shared = {**state.shared, **shared}  # fixed leaves stay what they are
        return state._replace(shared=shared, server_opt=opt, generator=phi, generator_opt=phi_opt)

    roles = {**roles, **dict.fromkeys(extra, "personal")}
    work = local_training(task, roles, objective, after, phase).work
    return Method(
        *(roles, init, realize, send, work, receive, aggregate, generator.step_embeddings, task.forward),
        rules=tuple(rules),
        hypernetwork=hypernetwork,
        description=Description(generator.describe) if descriptor else None,
    )


def zeros(shape: tuple[int, ...]) -> Callable[[jax.Array], jax.Array]:
    """For `extra`: a leaf that starts from zeros at every client."""
    return lambda key: jnp.zeros(shape)


def _key_of(path: str, keys: jax.Array) -> jax.Array:
    """Keys [K] of this leaf, made of those of its clients [K]."""
    return jax.vmap(lambda key: jax.random.fold_in(key, zlib.crc32(path.encode())))(keys)


def _check_names(rules: list[Rule]) -> None:
    for role, _ in rules:
        if role not in ROLES:
            raise UserError(f"rules: got the role {role!r}{nearest(role, ROLES)}; choose {', '.join(ROLES)}")


def _roles_of(task: Task, paths: list[str], rules: list[Rule], extra: Collection[str]) -> dict[str, Role]:
    """The role of each of the model's leaves; UserError for rules that the model or the training belies."""
    roles = tree.assign_roles(paths, rules)
    for path, role in roles.items():
        if role == "generated" and path.startswith(STATISTICS):
            raise UserError(
                f"method.generated: matches {path!r}, a running statistic, which cannot be generated; "
                "write an expression that starts with ^params/"
            )
    trained = {roles[path] for path in paths if not path.startswith(STATISTICS)} - {"fixed"}
    if not trained and not extra:
        raise UserError(
            "method.fixed: matches every parameter of the model, so nothing would be trained; leave some to "
            "another role"
        )
    for name, rate in dataclasses.asdict(task.training.role_learning_rates).items():
        if rate is not None and name not in {*roles.values(), *("personal" for _ in extra)}:
            raise UserError(
                f"training.role_learning_rates.{name}: {rate}, but this method has no {name} leaves; leave "
                "it out, or choose a method that has"
            )
    return roles


class _Server:
    """What becomes of the shared leaves: the mean, or an optimizer's step along old - mean."""

    def __init__(self, settings: config.Server, shared: set[str]) -> None:
        self.optimizer: optax.GradientTransformation | None = None
        self.parameters = {path for path in shared if path.startswith("params/")}
        rate: Any = settings.learning_rate
        whole = not isinstance(rate, jax.core.Tracer) and rate == 1.0
        if not (is_plain_sgd(settings.optimizer) and whole):  # that takes the mean
            self.optimizer = make_optimizer(settings.optimizer, "server.optimizer", settings.learning_rate)
            if not self.parameters:
                raise UserError(
                    "server.optimizer: this method shares no parameters, so the server has nothing to "
                    "optimize; leave the section server out, or choose another method"
                )

    def init(self, shared: Leaves) -> Any:
        return self.optimizer.init(self._own(shared)) if self.optimizer else ()

    def step(self, shared: Leaves, opt: Any, mean: Leaves) -> tuple[Leaves, Any]:
        """New shared leaves and optimizer state; running statistics always take the mean."""
        if not self.optimizer:
            return mean, opt
        old = self._own(shared)
        updates, opt = self.optimizer.update({p: old[p] - mean[p] for p in old}, opt, old)
        return {**mean, **optax.apply_updates(old, updates)}, opt

    def _own(self, leaves: Leaves) -> Leaves:
        return {path: leaf for path, leaf in leaves.items() if path in self.parameters}
