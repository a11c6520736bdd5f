"""A method with all that its clients' uploads meet: adversaries, bounds of privacy, steps, a rule."""

from typing import Any

from fedtp_jax.aggregation.changes_apart import with_changes_apart
from fedtp_jax.config import SimulationConfig, name_of
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.task import Task
from fedtp_jax.uploads.adversaries import trigger_of, with_adversaries
from fedtp_jax.uploads.chain import with_uploads
from fedtp_jax.uploads.finite import with_finite_uploads
from fedtp_jax.uploads.private import with_bounded_changes


def whole_method(method: Method, config: SimulationConfig, task: Task, mean: Any, std: Any) -> Method:
    """`method` as the rounds of `config` run it; `mean`, `std` of the inputs' normalisation."""
    name = name_of(config.method)
    if config.adversaries.asked_for:
        trigger = trigger_of(config.adversaries, mean, std)
        method = with_adversaries(method, config.adversaries, trigger, task, name)
    if config.privacy.asked_for:
        method = with_bounded_changes(method, config.privacy, config.training.cohort_size, task, name)
    method = with_uploads(method, config.upload, task, name)
    if config.adversaries.asked_for or config.upload:
        method = with_finite_uploads(method)
    return with_changes_apart(method, config.server.aggregation, task, name)
