"""Clients that work against the others: what they train on, and what they send.

Li, Hu, Beirami, Smith: Ditto: Fair and Robust Federated Learning Through Personalization. ICML 2021, arXiv
2012.04221, section 4.1 (labels, random updates, boosting). Bagdasaryan, Veit, Hua, Estrin, Shmatikov: How To
Backdoor Federated Learning. AISTATS 2020, arXiv 1807.00459 (a trigger, model replacement). With personalised
methods: Qin, Yao, Chen, Li, Ding, Cheng: Revisiting Personalized Federated Learning: Robustness Against
Backdoor Attacks. KDD 2023, arXiv 2302.01677.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedtp_jax import config
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.rng import Purpose
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.learning.method import Kept, Method, State, Upload
from fedtp_jax.learning.task import Task
from fedtp_jax.uploads.chain import changing
from fedtp_jax.uploads.change import change_of, with_more
from fedtp_jax.uploads.transform import joined, parted

OWN = "adversary/"  # begins the path of the row that says who is one
FLAG = f"{OWN}flag"
KEY = 0x40000BAD  # no local step's number, by which its draws are told from others of the same key
CLOSE = 1e-9  # by which a share of examples may be rounded down


class Trigger(NamedTuple):
    """A square of `side` pixels in the lower right corner, of the value `white`, that stands for `target`."""

    side: int
    white: tuple[float, ...]
    target: int

    def on(self, x: jax.Array) -> jax.Array:
        """Images [B, H, W, channels] with it."""
        return x.at[:, -self.side :, -self.side :, :].set(jnp.asarray(self.white, x.dtype))


def adversaries_of(simulation: config.SimulationConfig, clients: int) -> np.ndarray:
    """Ids, ascending, of the adversaries among so many clients: those named, or a share drawn once.

    Raises UserError for a client that there is not.
    """
    settings = simulation.adversaries
    if not settings.asked_for:
        return np.zeros(0, np.int64)
    named = settings.clients if isinstance(settings.clients, tuple) else ()
    if strange := [k for k in named if not 0 <= k < clients]:
        raise UserError(f"adversaries.clients: {strange[0]} is none of the clients 0 to {clients - 1}")
    found = np.unique(np.asarray(_adversaries(settings, jax.random.key(simulation.seed), clients), np.int64))
    if len(found) in (0, clients):
        who = "none" if len(found) == 0 else "all"
        raise UserError(
            f"adversaries.clients: {settings.clients} makes {who} of the {clients} clients adversaries; give "
            "another share, or [] for none"
        )
    return found


def _adversaries(settings: config.Adversaries, key: jax.Array, clients: int) -> jax.Array:
    """Their ids [A], by the key of the seed: of several seeds that share programs each has its own."""
    if isinstance(settings.clients, tuple):
        return jnp.asarray(settings.clients, jnp.int32)
    order = jax.random.permutation(jax.random.fold_in(key, Purpose.ADVERSARIES), clients)
    return order[: round(settings.clients * clients)]


def trigger_of(settings: config.Adversaries, mean: Any, std: Any) -> Trigger | None:
    """That of a backdoor, white on images of this mean and std; None of other attacks."""
    if not settings.asked_for or settings.kind != "backdoor":
        return None
    white = (1.0 - np.asarray(mean, np.float64)) / np.asarray(std, np.float64)
    return Trigger(settings.trigger, tuple(np.atleast_1d(white).tolist()), settings.target)


def with_adversaries(
    method: Method,
    settings: config.Adversaries,
    trigger: Trigger | None,
    task: Task,
    name: str,
) -> Method:
    """`method` some of whose clients work against the others; it is what it was to all others.

    What they do comes before any step of the upload. Raises UserError where the attack has no meaning.
    """
    _check(settings, trigger, task, name)
    factor = settings.factor or (task.training.cohort_size if settings.kind == "boost" else 1.0)
    scales = settings.kind == "random_update" or (settings.kind in ("boost", "backdoor") and factor != 1.0)
    like = changing(method, task, name, "adversaries") if scales else {}

    def init(key: jax.Array, clients: jax.Array) -> State:
        state = method.init(key, clients)
        flag = jnp.isin(clients, _adversaries(settings, key, task.num_clients)).astype(jnp.float32)
        return state._replace(rows={**state.rows, FLAG: flag})

    def send(state: State) -> tuple[Leaves, Leaves]:
        shared, rows = method.send(state)
        return shared, {**rows, FLAG: state.rows[FLAG]}

    def start(shared: Leaves, row: Row, key: jax.Array) -> Any:
        return jax.random.key_data(jax.random.fold_in(key, KEY)), method.work.start(
            shared, _without(row), key
        )

    def step(shared: Leaves, row: Row, carry: Any, batch: Batch, key: jax.Array) -> Any:
        seen = _poisoned(batch, row.leaves[FLAG] > 0, settings, trigger, task.num_classes)
        return carry[0], method.work.step(shared, _without(row), carry[1], seen, key)

    def finish(shared: Leaves, row: Row, carry: Any) -> tuple[Upload, Kept]:
        upload, kept = method.work.finish(shared, _without(row), carry[1])
        kept = kept._replace(personal={**kept.personal, FLAG: row.leaves[FLAG]})
        if not scales:
            return upload, kept
        change = change_of(shared, upload, kept, like)
        bad = _sent(change, settings.kind, factor, jax.random.wrap_key_data(carry[0]))
        flag = row.leaves[FLAG] > 0
        more = {p: jnp.where(flag, upload.weight * (bad[p] - change[p]), 0.0) for p in like}
        return with_more(upload, kept, more)

    return method._replace(
        init=init,
        send=send,
        work=ClientWork(start, step, finish),
        only_training=(*method.only_training, OWN),
    )


def _poisoned(
    batch: Batch, flag: jax.Array, settings: config.Adversaries, trigger: Trigger | None, classes: int
) -> Batch:
    """What an adversary trains on, and all others as it is."""
    if settings.kind == "random_update":
        return batch
    if trigger is None:
        return batch._replace(y=jnp.where(flag, classes - 1 - batch.y, batch.y))
    # evenly spaced, from the first on: one of few at least, and as many of either half of a batch
    places = np.ceil(settings.poisoned * np.arange(len(batch.y) + 1) - CLOSE)
    carries = flag & jnp.asarray(np.diff(places) > 0)
    x = jnp.where(carries[:, None, None, None], trigger.on(batch.x), batch.x)
    return batch._replace(x=x, y=jnp.where(carries, trigger.target, batch.y))


def _sent(change: Leaves, kind: str, factor: float, key: jax.Array) -> Leaves:
    """What an adversary sends in place of its change."""
    if kind != "random_update":
        return {path: factor * leaf for path, leaf in change.items()}
    entries = joined(change)
    return parted(entries.std() * jax.random.normal(key, entries.shape), change)


def _without(row: Row) -> Row:
    """The row as the method knows it."""
    return row._replace(leaves={path: leaf for path, leaf in row.leaves.items() if path != FLAG})


def _check(settings: config.Adversaries, trigger: Trigger | None, task: Task, name: str) -> None:
    if settings.kind != "random_update":
        task.check_classes(f"adversaries.kind {settings.kind} of method {name}", "turns classes into others")
    if trigger is None:
        return
    if task.inputs.kind != "image":
        raise UserError(
            f"adversaries.kind: backdoor puts a trigger on images, but the data gives {task.inputs.kind}; "
            "choose another kind"
        )
    if settings.target >= task.num_classes:
        raise UserError(
            f"adversaries.target: {settings.target}, but the data has classes 0 to {task.num_classes - 1}; "
            "choose one of these"
        )
    if settings.trigger > min(task.inputs.shape[:2]):
        raise UserError(
            f"adversaries.trigger: {settings.trigger} pixels, but images have {list(task.inputs.shape[:2])}; "
            "choose fewer"
        )
