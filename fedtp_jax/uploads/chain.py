"""Steps one after the other, for whatever a method's clients upload."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import ClientWork, Row
from fedtp_jax.learning.method import Kept, Method, State, Upload
from fedtp_jax.learning.task import STATISTICS, Task
from fedtp_jax.uploads.change import change_of, with_more
from fedtp_jax.uploads.clip import clip
from fedtp_jax.uploads.noise import noise
from fedtp_jax.uploads.quantize import quantize
from fedtp_jax.uploads.sign import sign
from fedtp_jax.uploads.sparsify import random_k, top_k
from fedtp_jax.uploads.transform import Message, Transform

OWN = "upload/"  # begins the paths of rows in which clients keep what they did not send
KEY = 0x400000B5  # no local step's number, by which its draws are told from others of the same key

_MAKERS: dict[type, Callable[[Any], Transform]] = {
    config.Clip: clip,
    config.Quantize: quantize,
    config.TopK: top_k,
    config.RandomK: random_k,
}


def make_chain(settings: config.Uploads) -> list[Transform]:
    """The steps that the settings name, in their order."""
    norm = next((one.norm for one in settings if isinstance(one, config.Clip)), 0.0)
    few = any(isinstance(one, config.TopK | config.RandomK) for one in settings)
    makers = {**_MAKERS, config.Noise: lambda one: noise(one, norm), config.Sign: lambda one: sign(one, few)}
    return [makers[type(one)](one) for one in settings]


def with_uploads(method: Method, settings: config.Uploads, task: Task, name: str) -> Method:
    """`method` whose clients send what the steps make of their change: returned - sent, of all parameters.

    Shared and generated leaves' changes are one vector. Running statistics travel as they are. Without steps
    it is the method itself. Raises UserError where clients send anything else than leaves of the model.
    """
    if not settings:
        return method
    chain, like = make_chain(settings), changing(method, task, name, "upload")
    keeps = [k for k, step in enumerate(chain) if step.error_feedback]

    def init(key: jax.Array, ids: jax.Array) -> State:
        state = method.init(key, ids)
        own = {
            path_of(k, path): jnp.zeros((len(ids), *leaf.shape)) for k in keeps for path, leaf in like.items()
        }
        return state._replace(rows={**state.rows, **own})

    def send(state: State) -> tuple[Leaves, Leaves]:
        shared, rows = method.send(state)
        return shared, {**rows, **{p: row for p, row in state.rows.items() if p.startswith(OWN)}}

    def start(shared: Leaves, row: Row, key: jax.Array) -> Any:
        return jax.random.key_data(jax.random.fold_in(key, KEY)), method.work.start(
            shared, _without(row), key
        )

    def step(shared: Leaves, row: Row, carry: Any, *given: Any) -> Any:
        return carry[0], method.work.step(shared, _without(row), carry[1], *given)

    def finish(shared: Leaves, row: Row, carry: Any) -> tuple[Upload, Kept]:
        upload, kept = method.work.finish(shared, _without(row), carry[1])
        change = change_of(shared, upload, kept, like)
        sent, residuals = _sent(chain, change, row, jax.random.wrap_key_data(carry[0]))
        more = {path: upload.weight * (sent[path] - change[path]) for path in like}
        stays = {path: jnp.where(kept.excluded > 0, row.leaves[path], new) for path, new in residuals.items()}
        return with_more(upload, kept._replace(personal={**kept.personal, **stays}), more)

    return method._replace(
        init=init,
        send=send,
        work=ClientWork(start, step, finish),
        only_training=(*method.only_training, OWN),
        sent_bytes=lambda sizes: num_bytes(chain, sizes),
    )


def num_bytes(chain: Sequence[Transform], sizes: list[int]) -> int:
    """Of an upload of leaves of these sizes."""
    message = Message(sum(sizes))
    for step in chain:
        message = step.cost(message, sizes)
    return message.num_bytes


def path_of(step: int, path: str) -> str:
    """The row in which clients keep what this step has left of a leaf."""
    return f"{OWN}{step}/{path}"


def _sent(chain: Sequence[Transform], change: Leaves, row: Row, key: jax.Array) -> tuple[Leaves, Leaves]:
    """(what is sent of a change, {row: what was not})."""
    residuals: Leaves = {}
    for k, step in enumerate(chain):
        if step.error_feedback:
            change = {path: leaf + row.leaves[path_of(k, path)] for path, leaf in change.items()}
        sent = step.apply(change, jax.random.fold_in(key, k))
        if step.error_feedback:
            residuals |= {path_of(k, path): leaf - sent[path] for path, leaf in change.items()}
        change = sent
    return change, residuals


def _without(row: Row) -> Row:
    """The row as the method knows it."""
    return row._replace(leaves={p: leaf for p, leaf in row.leaves.items() if not p.startswith(OWN)})


def changing(method: Method, task: Task, name: str, field: str) -> Leaves:
    """Shapes of the leaves whose changes clients send.

    Raises UserError, for the sake of the setting `field`, where they send anything else, or nothing.
    """
    state = jax.eval_shape(method.init, jax.random.key(0), jax.ShapeDtypeStruct((1,), jnp.int32))
    shared, model = method.travelling(state.shared), task.leaf_shapes()
    more = sorted({*shared} - {*model})
    if method.mix or method.description or more:
        what = more[0] if more else "more than changes of shared and generated leaves"
        raise UserError(
            f"{field}: the clients of method {name} send {what}, which no norm or step is known for; leave "
            f"{field} out, or choose another method"
        )
    generated = tree.select(model, method.roles, "generated")
    found = {path: leaf for path, leaf in {**shared, **generated}.items() if not path.startswith(STATISTICS)}
    if not found:
        raise UserError(f"{field}: the clients of method {name} send nothing; leave {field} out")
    return found
