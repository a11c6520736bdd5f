"""Uploads of which no one can be told from their noisy sum: each client's change has a bounded norm.

McMahan, Ramage, Talwar, Zhang: Learning Differentially Private Recurrent Language Models. ICLR 2018, arXiv
1710.06963 (flat clipping, fixed denominator). Personal leaves as in: Bietti, Wei, Dudik, Langford, Wu:
Personalization Improves Privacy-Accuracy Tradeoffs in Federated Learning. ICML 2022, arXiv 2202.05318.
"""

from typing import Any

import jax
import jax.numpy as jnp

from fedtp_jax.core.errors import UserError
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import ClientWork, Row
from fedtp_jax.learning.method import EMBEDDING, Kept, Method, State, Upload
from fedtp_jax.learning.task import STATISTICS, Task
from fedtp_jax.uploads.chain import changing

OWN = "private/"  # begins the paths of what the local training is not shown


def with_bounded_changes(method: Method, clip: float, clients: float, task: Task, name: str) -> Method:
    """`method` of whose clients the server sees the sum of changes of norm `clip` at most, over `clients`.

    A client's change of the shared leaves and the gradient of the hypernetwork that its generated leaves'
    change gives, J_k^T Delta_k, are one vector; min(1, clip / its norm) scales both, exactly: the gradient is
    linear in the change of the generated leaves. Every client weighs 1 / `clients`, however many come. Raises
    UserError where the server sees anything else of a client.
    """
    like = changing(method, task, name, "privacy")
    _check_statistics(method, task, name)
    generated = sorted(path for path, role in method.roles.items() if role == "generated")

    def send(state: State) -> tuple[Leaves, Leaves]:
        shared, rows = method.send(state)
        if not generated:
            return shared, rows
        phi = {f"{OWN}{path}": leaf for path, leaf in state.generator.items()}
        return {**shared, **phi}, {**rows, f"{OWN}{EMBEDDING}": state.rows[EMBEDDING]}

    def start(shared: Leaves, row: Row, key: jax.Array) -> Any:
        return method.work.start(*_public(shared, row), key)

    def step(shared: Leaves, row: Row, *given: Any) -> Any:
        return method.work.step(*_public(shared, row), *given)

    def finish(shared: Leaves, row: Row, carry: Any) -> tuple[Upload, Kept]:
        sent, own_row = _public(shared, row)
        upload, kept = method.work.finish(sent, own_row, carry)
        weight = jnp.where(upload.weight > 0, upload.weight, 1.0)
        change = {p: w / weight - sent[p] for p, w in upload.shared.items() if p in like}
        back = {path: leaf / weight for path, leaf in kept.cotangent.items()}
        squares = sum((jnp.sum(leaf**2) for leaf in change.values()), jnp.zeros(()))
        if generated:
            squares += _squared_gradient(method, sent, shared, own_row, row, back)
        good = kept.excluded == 0
        share = jnp.minimum(1.0, clip / jnp.sqrt(jnp.maximum(squares, 1e-30))) / clients

        def bounded(leaves: Leaves) -> Leaves:
            return {path: jnp.where(good, share * leaf, 0.0) for path, leaf in leaves.items()}

        upload = Upload(bounded(change), jnp.where(good, 1 / clients, 0.0))
        return upload, kept._replace(cotangent=bounded(back))

    def aggregate(state: State, upload: Upload, gradient: Leaves) -> State:
        """From the sums of changes over the fixed number of clients, noise included."""
        travelling = method.travelling(state.shared)
        mean = {path: leaf + upload.shared[path] for path, leaf in travelling.items()}
        return method.aggregate(state, Upload(mean, jnp.ones(())), gradient)

    return method._replace(send=send, work=ClientWork(start, step, finish), aggregate=aggregate)


def _squared_gradient(
    method: Method, sent: Leaves, shared: Leaves, own_row: Row, row: Row, back: Leaves
) -> jax.Array:
    """|J_k^T Delta_k|^2 of one client: of the hypernetwork's gradient that its generated leaves give."""
    begins = len(OWN)
    phi = {path[begins:]: leaf for path, leaf in shared.items() if path.startswith(OWN)}
    own = {path: leaf[None] for path, leaf in own_row.leaves.items() if path not in back}
    own[EMBEDDING] = row.leaves[f"{OWN}{EMBEDDING}"][None]

    def generate(phi: Leaves) -> Leaves:
        made = method.realize(sent, phi, own)
        return {path: made[path] for path in back}

    _, pull = jax.vjp(generate, phi)
    (gradient,) = pull({path: leaf[None] for path, leaf in back.items()})
    return sum((jnp.sum(leaf**2) for leaf in gradient.values()), jnp.zeros(()))


def _public(shared: Leaves, row: Row) -> tuple[Leaves, Row]:
    """What the method's own local training is shown."""

    def without(leaves: Leaves) -> Leaves:
        return {path: leaf for path, leaf in leaves.items() if not path.startswith(OWN)}

    return without(shared), row._replace(leaves=without(row.leaves))


def _check_statistics(method: Method, task: Task, name: str) -> None:
    """Raise UserError for running statistics that travel: sums of examples that no noise hides."""
    clear = [p for p in task.leaf_shapes() if p.startswith(STATISTICS) and method.roles.get(p) == "shared"]
    if clear:
        raise UserError(
            f"privacy: the clients of method {name} send {clear[0]}, running statistics of their examples, "
            "in clear; choose a model without batch norm, or keep them personal (method fedbn)"
        )
