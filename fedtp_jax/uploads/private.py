"""Uploads of which no one can be told from their noisy sum: each client's change has a bounded norm.

McMahan, Ramage, Talwar, Zhang: Learning Differentially Private Recurrent Language Models. ICLR 2018, arXiv
1710.06963 (flat clipping, fixed denominator). Personal leaves as in: Bietti, Wei, Dudik, Langford, Wu:
Personalization Improves Privacy-Accuracy Tradeoffs in Federated Learning. ICML 2022, arXiv 2202.05318.
A norm that follows a quantile: Andrew, Thakkar, McMahan, Ramaswamy: Differentially Private Learning with
Adaptive Clipping. NeurIPS 2021, arXiv 1905.03871, algorithm 1.
"""

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.tree import Leaves
from fedtp_jax.learning.method import Kept, Method, State, Upload
from fedtp_jax.learning.task import STATISTICS, Task
from fedtp_jax.uploads.chain import changing
from fedtp_jax.uploads.change import by_changes
from fedtp_jax.uploads.finite import excluded_unless
from fedtp_jax.uploads.transform import norm_of
from fedtp_jax.uploads.whole_change import OWN, with_whole_changes

CLIP = f"{OWN}clip"  # of the norm, where it moves; clients answer with whether their change is no longer
MOVES = 0.2  # the norm by so much in its logarithm, if all clients' changes are on one side of it
TINY = 1e-15  # a norm by which is divided


def with_bounded_changes(
    method: Method, privacy: config.Privacy, clients: float, task: Task, name: str
) -> Method:
    """`method` of whose clients the server sees the sum of changes of norm `privacy.clip`, over `clients`.

    A client's change of the shared leaves and the gradient of the hypernetwork that its generated leaves'
    change gives, J_k^T Delta_k, are one vector; min(1, clip / its norm) scales both, exactly: the gradient is
    linear in the change of the generated leaves. Every client weighs 1 / `clients`, however many come. With
    `privacy.quantile` the norm is a leaf that travels. Raises UserError where the server sees anything else
    of a client.
    """
    changing(method, task, name, "privacy")
    _check_statistics(method, task, name)

    def finish(upload: Upload, kept: Kept, change: Leaves, sent: Leaves) -> tuple[Upload, Kept]:
        length = norm_of(change)
        good = (kept.excluded == 0) & jnp.isfinite(length)
        clip = sent.get(CLIP, privacy.clip)
        weight = jnp.where(upload.weight > 0, upload.weight, 1.0)
        share = jnp.minimum(1.0, clip / jnp.maximum(length, TINY)) / clients

        shared = {path: share * change[path] for path in upload.shared}
        if CLIP in sent:  # of a half more or less: no client moves the sum by more than that
            shared[CLIP] = jnp.where(length <= clip, 0.5, -0.5) / clients
        kept = kept._replace(cotangent=tree.scale(kept.cotangent, share / weight))
        return excluded_unless(good, Upload(shared, jnp.full((), 1 / clients)), kept)

    # sums of changes over the fixed number of clients, noise included
    bounded = with_whole_changes(method, finish)._replace(aggregate=by_changes(method))
    return bounded if privacy.quantile is None else _with_moving_clip(bounded, privacy.clip, privacy.quantile)


def _with_moving_clip(method: Method, clip: float, quantile: float) -> Method:
    """`method` whose state holds the norm: C exp(-MOVES (share of changes that are no longer - quantile))."""

    def known(shared: Leaves) -> Leaves:
        return {path: leaf for path, leaf in shared.items() if path != CLIP}

    def init(key: jax.Array, ids: jax.Array) -> State:
        state = method.init(key, ids)
        return state._replace(shared={**state.shared, CLIP: jnp.full((), clip)})

    def send(state: State) -> tuple[Leaves, Leaves]:
        shared, rows = method.send(state._replace(shared=known(state.shared)))
        return {**shared, CLIP: state.shared[CLIP]}, rows

    def aggregate(state: State, upload: Upload, gradient: Leaves) -> State:
        own = state._replace(shared=known(state.shared))
        after = method.aggregate(own, upload._replace(shared=known(upload.shared)), gradient)
        no_longer = 0.5 + upload.shared[CLIP]
        moved = state.shared[CLIP] * jnp.exp(-MOVES * (no_longer - quantile))
        return after._replace(shared={**after.shared, CLIP: moved})

    return method._replace(
        init=init, send=send, aggregate=aggregate, only_training=(*method.only_training, OWN)
    )


def _check_statistics(method: Method, task: Task, name: str) -> None:
    """Raise UserError for running statistics that travel: sums of examples that no noise hides."""
    clear = [p for p in task.leaf_shapes() if p.startswith(STATISTICS) and method.roles.get(p) == "shared"]
    if clear:
        raise UserError(
            f"privacy: the clients of method {name} send {clear[0]}, running statistics of their examples, "
            "in clear; choose a model without batch norm, or keep them personal (method fedbn)"
        )
