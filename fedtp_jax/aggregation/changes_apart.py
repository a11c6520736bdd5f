"""Clients whose changes the server holds one by one, for a rule that needs more than their sum."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fedtp_jax import config
from fedtp_jax.aggregation.geometric_median import geometric_median
from fedtp_jax.aggregation.krum import krum
from fedtp_jax.aggregation.median import median, trimmed_mean
from fedtp_jax.core.tree import Leaves
from fedtp_jax.learning.method import Apart, Kept, Method, Received, Rule, State, Upload
from fedtp_jax.learning.task import Task
from fedtp_jax.uploads.chain import changing
from fedtp_jax.uploads.change import by_changes
from fedtp_jax.uploads.finite import excluded_unless
from fedtp_jax.uploads.transform import joined, norm_of
from fedtp_jax.uploads.whole_change import HYPERNETWORK, with_whole_changes

CHANGE, WEIGHT = "apart/change", "apart/weight"  # what of a client the server is told beside its rows

LONGEST = 1e17  # a change whose squared distance from others float32 still holds; who sends more is excluded


def with_changes_apart(method: Method, settings: Any, task: Task, name: str) -> Method:
    """`method` whose server combines the changes of shared leaves by the rule that `settings` choose.

    A client's change and the gradient of the hypernetwork that the change of its generated leaves gives,
    J_k^T (sent - returned), are one vector. Running statistics are of it, but say nothing of distances. With
    the mean it is the method itself. Raises UserError where clients send anything else than changes.
    """
    if isinstance(settings, config.Mean):
        return method
    changing(method, task, name, "server.aggregation")
    state = jax.eval_shape(method.init, jax.random.key(0), jax.ShapeDtypeStruct((1,), jnp.int32))
    gradient = {f"{HYPERNETWORK}{path}": leaf for path, leaf in state.generator.items()}

    def finish(upload: Upload, kept: Kept, change: Leaves, _: Leaves) -> tuple[Upload, Kept]:
        upload, kept = excluded_unless(norm_of(change) < LONGEST, upload, kept)
        told = {CHANGE: joined(change), WEIGHT: upload.weight}
        return upload, kept._replace(personal={**kept.personal, **told})

    def receive(state: State, kept: Kept) -> Received:
        received = method.receive(state, kept)  # clients' embeddings have gradients of their own
        return received._replace(generator=jax.tree.map(jnp.zeros_like, received.generator))

    told = with_whole_changes(method, finish)._replace(receive=receive, aggregate=by_changes(method))
    like = {**method.travelling(state.shared), **gradient}
    return told._replace(apart=Apart(rule_of(settings), like))


def rule_of(settings: Any) -> Rule:
    """The rule that the settings choose."""
    makers: dict[type, Callable[[Any], Rule]] = {
        config.Median: median,
        config.TrimmedMean: trimmed_mean,
        config.Krum: krum,
        config.GeometricMedian: geometric_median,
    }
    return makers[type(settings)](settings)
