"""Weights of the classes in the training loss."""

import numpy as np

from fedtp_jax.config import SimulationConfig
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.dataset import Dataset

FIELD = "task.class_weights"


def class_weights(config: SimulationConfig, data: Dataset) -> tuple[float, ...] | None:
    """[C] by `task.class_weights`, else what the data set brings, or None for 1.

    "balanced" is M / (C' * M_c): M train examples, M_c of class c, C' classes that have some (as
    scikit-learn's compute_class_weight); others have 1. Raises UserError for another number of weights,
    negative ones, or where data have weights already.
    """
    asked = config.task.class_weights
    if asked == "none":
        return data.class_weights
    if data.class_weights is not None:
        raise UserError(f"{FIELD}: {asked!r}, but data.class_weights gives the authors' too; leave one out")
    if asked == "balanced":
        if data.is_text:
            raise UserError(
                f"{FIELD}: 'balanced', but every position of a text has a label; give a list of "
                f"{data.num_classes} weights, or leave it out"
            )
        counts = np.bincount(data.train.y, minlength=data.num_classes)
        mean = counts.sum() / np.count_nonzero(counts)
        return tuple(np.where(counts > 0, mean / np.maximum(counts, 1), 1.0).tolist())
    weights = tuple(float(weight) for weight in asked)
    if len(weights) != data.num_classes:
        raise UserError(
            f"{FIELD}: {len(weights)} weights, but the data has {data.num_classes} classes; give one for each"
        )
    if min(weights) < 0 or not any(weights):
        raise UserError(f"{FIELD}: {list(weights)}; expected numbers of at least 0, not all of them 0")
    return weights
