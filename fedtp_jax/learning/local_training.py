"""What nearly every method does at the client: optimizer steps on its leaves, batch by batch."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fedtp_jax import config
from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.tree import Leaves, Role
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.learning.method import Kept, Upload
from fedtp_jax.learning.optimizers import make_optimizer, scale_updates
from fedtp_jax.learning.task import STATISTICS, Output, Task

# (task, output of the model, its leaves, shared leaves as sent, row, batch) -> loss
Objective = Callable[[Task, Output, Leaves, Leaves, Row, Batch], jax.Array]
# (task, leaves before the step, output of the model, row, batch) -> leaves that the step changes as well
After = Callable[[Task, Leaves, Output, Row, Batch], Leaves]
# (row, batch) -> {role: whether this step trains its leaves}, for all roles that are trained
Phase = Callable[[Row, Batch], Mapping[Role, jax.Array]]


class Carry(NamedTuple):
    """A client between two local steps; `loss` sums those of the examples of its steps until now.

    Fixed leaves are not among its `leaves`: all clients read them where the server's copy lies.
    """

    leaves: Leaves
    opt: Any
    loss: jax.Array


class LocalTraining(NamedTuple):
    """The parts of which methods make their ClientWork.

    Attributes:
      start: as ClientWork's.
      gradient: (shared, row, leaves, batch, key) -> (loss, output of the model, gradient in its parameters).
      move: (shared, row, carry, batch, loss, output, gradient) -> carry: the optimizer's step along a
        gradient, wherever it was taken.
      step: both, at the client's own leaves; it gives the model's output as well.
      finish: as ClientWork's.
    """

    start: Callable[[Leaves, Row, jax.Array], Carry]
    gradient: Callable[[Leaves, Row, Leaves, Batch, jax.Array], tuple[jax.Array, Output, Leaves]]
    move: Callable[[Leaves, Row, Carry, Batch, jax.Array, Output, Leaves], Carry]
    step: Callable[[Leaves, Row, Carry, Batch, jax.Array], tuple[Carry, Output]]
    finish: Callable[[Leaves, Row, Carry], tuple[Upload, Kept]]

    @property
    def work(self) -> ClientWork:
        """The local training that is nothing but these steps."""
        return ClientWork(self.start, lambda *arguments: self.step(*arguments)[0], self.finish)


def plain_objective(
    task: Task, output: Output, leaves: Leaves, shared: Leaves, row: Row, batch: Batch
) -> jax.Array:
    """The task's loss."""
    return task.loss(output.logits, batch)


def held_near_shared(penalty: float) -> Objective:
    """The task's loss + penalty / 2 * |w - shared|^2, of which the gradient counts and the value does not.

    So the training loss stays that of the model.
    """

    def objective(
        task: Task, output: Output, leaves: Leaves, shared: Leaves, row: Row, batch: Batch
    ) -> jax.Array:
        parameters = [path for path in shared if path.startswith("params/")]
        distance = sum(jnp.sum((leaves[p] - shared[p]) ** 2) for p in parameters)
        pull = penalty / 2 * distance
        return task.loss(output.logits, batch) + pull - jax.lax.stop_gradient(pull)

    return objective


def local_training(
    task: Task,
    roles: Mapping[str, Role],
    objective: Objective = plain_objective,
    after: After | None = None,
    phase: Phase | None = None,
) -> LocalTraining:
    """Steps of the clients' optimizer on `objective` from (shared, row), with a fresh optimizer.

    Running statistics are what the forward pass leaves; what `after` gives is what those leaves become. With
    a `phase` every role has an optimizer of its own, which rests, as its leaves do, while others are trained.
    """
    training = task.training
    optimizer = make_optimizer(
        training.optimizer,
        "training.optimizer",
        training.learning_rate,
        training.weight_decay,
        training.clip_norm,
        scaled=_scaled(training),
    )

    def begin(parameters: Leaves) -> Any:
        if not phase:
            return optimizer.init(parameters)
        trained = {roles[path] for path in parameters}
        return {role: optimizer.init(tree.select(parameters, roles, role)) for role in trained}

    def start(shared: Leaves, row: Row, key: jax.Array) -> Carry:
        leaves = {p: leaf for p, leaf in {**shared, **row.leaves}.items() if roles.get(p) != "fixed"}
        return Carry(leaves, begin(_parameters(leaves)), jnp.zeros(()))

    def gradient(
        shared: Leaves, row: Row, leaves: Leaves, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, Output, Leaves]:
        before = {**tree.select(shared, roles, "fixed"), **leaves}

        def loss(parameters: Leaves) -> tuple[jax.Array, Output]:
            whole = {**before, **parameters}
            output = task.forward(whole, batch.x, batch.mask, key)
            value = objective(task, output, whole, shared, row, batch)
            _check_scalar(value, objective)
            return value, output

        (value, output), found = jax.value_and_grad(loss, has_aux=True)(_parameters(leaves))
        return value, output, found

    def move(
        shared: Leaves,
        row: Row,
        carry: Carry,
        batch: Batch,
        loss: jax.Array,
        output: Output,
        gradient: Leaves,
    ) -> Carry:
        parameters = _parameters(carry.leaves)
        if phase:
            now = phase(row, batch)
            _check_phase(now, carry.opt, phase)
            updates, opt = _update_in_phases(optimizer, gradient, carry.opt, parameters, roles, now)
        else:
            updates, opt = optimizer.update(gradient, carry.opt, parameters)
        updates = scale_updates(updates, row.facts.rate, roles, training)
        statistics = {path: new for path, new in output.statistics.items() if path in carry.leaves}
        before = {**tree.select(shared, roles, "fixed"), **carry.leaves}
        beside = after(task, before, output, row, batch) if after else {}
        leaves = {**carry.leaves, **optax.apply_updates(parameters, updates), **statistics, **beside}
        return Carry(leaves, opt, carry.loss + jnp.sum(batch.mask) * loss)

    def step(shared: Leaves, row: Row, carry: Carry, batch: Batch, key: jax.Array) -> tuple[Carry, Output]:
        loss, output, found = gradient(shared, row, carry.leaves, batch, key)
        return move(shared, row, carry, batch, loss, output, found), output

    def finish(shared: Leaves, row: Row, carry: Carry) -> tuple[Upload, Kept]:
        good = tree.all_finite((carry.leaves, carry.loss))
        began = {**shared, **row.leaves}
        leaves = {p: jnp.where(good, new, began[p]) for p, new in carry.leaves.items()}
        weight = jnp.where(good, row.facts.weight, 0.0)
        sent = tree.select(row.leaves, roles, "generated")
        moved = {p: shared[p] + leaves[p] - sent[p] for p in sent if p in shared}  # a base, as the leaf did
        upload = Upload(tree.scale({**tree.select(leaves, roles, "shared"), **moved}, weight), weight)
        kept = Kept(
            personal=tree.select(leaves, roles, "personal"),
            cotangent={p: jnp.where(good, weight * (sent[p] - leaves[p]), 0.0) for p in sent},
            loss=jnp.where(good, carry.loss, 0.0),
            excluded=jnp.where(good, 0.0, 1.0),
        )
        return upload, kept

    return LocalTraining(start, gradient, move, step, finish)


def _check_scalar(loss: Any, objective: Objective) -> None:
    """Raise UserError where a loss is no number."""
    if not isinstance(loss, jax.Array | float) or jnp.shape(loss) != ():
        raise UserError(
            f"method: the objective {_name(objective)} returns {_kind_of(loss)}, expected one number, the "
            "loss of the batch; take the mean over its examples, as task.loss does"
        )


def _check_phase(now: Any, roles: Iterable[Role], phase: Phase) -> None:
    """Raise UserError unless it tells of each of the roles whether it is trained."""
    kind = f"a {type(now).__name__}"
    if isinstance(now, Mapping):
        kind = f"{{{', '.join(f'{role}: {_kind_of(one)}' for role, one in now.items())}}}"
        if all(role in now and jnp.shape(now[role]) == () for role in roles):
            return
    raise UserError(
        f"method: the phase {_name(phase)} returns {kind}, expected {{role: bool}} of "
        f"{' and '.join(sorted(roles))}: whether this step trains their leaves"
    )


def _kind_of(value: Any) -> str:
    return (
        f"{value.dtype}{list(value.shape)}" if isinstance(value, jax.Array) else f"a {type(value).__name__}"
    )


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _update_in_phases(
    optimizer: optax.GradientTransformation,
    gradient: Leaves,
    opt: Mapping[Role, Any],
    parameters: Leaves,
    roles: Mapping[str, Role],
    now: Mapping[Role, jax.Array],
) -> tuple[Leaves, dict[Role, Any]]:
    """Updates and state of each role's own optimizer: 0, and what it was, where `now` does not train it."""
    updates: Leaves = {}
    states: dict[Role, Any] = {}
    for role, state in opt.items():
        of_role = tree.select(gradient, roles, role), state, tree.select(parameters, roles, role)
        update, new = optimizer.update(*of_role)
        updates |= {path: jnp.where(now[role], value, 0.0) for path, value in update.items()}
        states[role] = jax.tree.map(functools.partial(jnp.where, now[role]), new, state)
    return updates, states


def _scaled(training: config.Training) -> str:
    """The setting by which clients' updates are scaled, if there is one."""
    if not isinstance(training.schedule, config.Constant):
        return "training.schedule"
    if training.warmup_rounds > 1:  # the first of one alone has all of the learning rate
        return "training.warmup_rounds"
    return "" if training.role_learning_rates == config.RoleRates() else "training.role_learning_rates"


def _parameters(leaves: Leaves) -> Leaves:
    """What the gradient reaches: the model's parameters, and leaves that a method has beside them."""
    return {path: leaf for path, leaf in leaves.items() if not path.startswith(STATISTICS)}
