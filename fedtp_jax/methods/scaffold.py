"""SCAFFOLD: control variates take out of each client's steps what its own data would have them drift by.

Karimireddy, Kale, Mohri, Reddi, Stich, Suresh: SCAFFOLD: Stochastic Controlled Averaging for Federated
Learning. ICML 2020, arXiv 1910.06378, algorithm 1, option II. Its eta_g is the server's learning rate. There
is no code of the authors.
"""

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.learning.local_training import Carry, local_training
from fedtp_jax.learning.method import Kept, Method, State, Upload
from fedtp_jax.learning.optimizers import is_plain_sgd, learning_rate_factors
from fedtp_jax.learning.roles import role_method, zeros
from fedtp_jax.learning.task import STATISTICS, Task

CONTROL = "control/"  # before the paths of the server's control variate c, among the shared leaves
OWN = "client/control/"  # and of a client's c_k, in its row


def scaffold(settings: config.Scaffold, task: Task) -> Method:
    """y <- y - eta (g + c - c_k) from y = x; then c_k <- c_k - c + (x - y) / (steps * eta), by its own steps.

    The server moves x along the mean of y - x by the clients' examples, as in every method here (the paper's
    mean is plain), and c by 1 / N of the sum of the changes of c_k: N are all clients of the partition, those
    that never take part, whose c_k is 0, among them. Running statistics are averaged, without control.
    """
    _check(task.training)
    shapes = {p: like.shape for p, like in task.leaf_shapes().items() if not p.startswith(STATISTICS)}
    own = {OWN + path: zeros(shape) for path, shape in shapes.items()}
    method = role_method(task, [("shared", (".",))], extra=own)

    def init(key: jax.Array, ids: jax.Array) -> State:
        state = method.init(key, ids)
        control = {CONTROL + path: jnp.zeros(shape) for path, shape in shapes.items()}
        return state._replace(shared={**state.shared, **control})

    def aggregate(state: State, upload: Upload, gradient: Leaves) -> State:
        """The control variates' entries of the upload are the plain sum of their changes."""
        model = {path: leaf for path, leaf in state.shared.items() if path in method.roles}
        sums = {path: upload.shared[path] for path in model}
        new = method.aggregate(state._replace(shared=model), upload._replace(shared=sums), gradient)
        control = {
            CONTROL + path: state.shared[CONTROL + path] + upload.shared[CONTROL + path] / task.num_clients
            for path in shapes
        }
        return new._replace(shared={**new.shared, **control})

    work = _controlled_work(task, method, list(shapes))
    return method._replace(init=init, work=work, aggregate=aggregate, only_training=(CONTROL, OWN))


def _controlled_work(task: Task, method: Method, parameters: list[str]) -> ClientWork:
    local = local_training(task, method.roles)
    eta = task.training.learning_rate

    def start(shared: Leaves, row: Row, key: jax.Array) -> Carry:
        model = {path: leaf for path, leaf in shared.items() if path in method.roles}
        return local.start(model, row._replace(leaves={}), key)

    def step(shared: Leaves, row: Row, carry: Carry, batch: Batch, key: jax.Array) -> Carry:
        """The optimizer's step, clipping and decay included, is that of g: the correction comes after it."""
        new, _ = local.step(shared, row, carry, batch, key)
        rate = eta * row.facts.rate
        corrected = {
            path: new.leaves[path] - rate * (shared[CONTROL + path] - row.leaves[OWN + path])
            for path in parameters
        }
        return new._replace(leaves={**new.leaves, **corrected})

    def finish(shared: Leaves, row: Row, carry: Carry) -> tuple[Upload, Kept]:
        taken = row.facts.steps.astype(jnp.float32) * (eta * row.facts.rate)
        own = {
            OWN + path: row.leaves[OWN + path]
            - shared[CONTROL + path]
            + (shared[path] - carry.leaves[path]) / taken
            for path in parameters
        }
        upload, kept = local.finish(shared, row, carry._replace(leaves={**carry.leaves, **own}))
        changes = {CONTROL + path: kept.personal[OWN + path] - row.leaves[OWN + path] for path in parameters}
        return upload._replace(shared={**upload.shared, **changes}), kept

    return ClientWork(start, step, finish)


def _check(training: config.Training) -> None:
    """Raise UserError unless clients step by plain SGD at one rate, which option II rests on."""
    chosen: config.Optimizer | config.Own = training.optimizer
    if not is_plain_sgd(chosen):
        if isinstance(chosen, config.Own):
            given = chosen.of
        else:
            given = ", ".join([chosen.name, *(f"{name}={value}" for name, value in chosen.arguments.items())])
        raise UserError(
            f"training.optimizer: got {given}, but scaffold tells a client's mean gradient from how far its "
            "steps led, which is that of plain sgd alone; set training.optimizer=sgd (without momentum)"
        )
    if training.role_learning_rates != config.RoleRates():
        raise UserError(
            "training.role_learning_rates: scaffold shares the whole model; set training.learning_rate"
        )
    if not all(factors := learning_rate_factors(training)):
        raise UserError(
            f"training.schedule: gives 0 for round {factors.index(0)} (from 0), but scaffold divides by the "
            "learning rate; give factors greater than 0"
        )
