"""What is learnt from the labels."""

import dataclasses
from typing import Literal, get_args

from fedtp_jax.config.fields import option

TaskKind = Literal["classification", "regression", "multilabel"]
Loss = Literal["cross_entropy", "squared_error", "absolute_error", "binary_cross_entropy"]
TASKS: tuple[str, ...] = get_args(TaskKind)
LOSSES: dict[str, tuple[Loss, ...]] = {  # of each kind of task; the first is its default
    "classification": ("cross_entropy",),
    "regression": ("squared_error", "absolute_error"),
    "multilabel": ("binary_cross_entropy",),
}


@dataclasses.dataclass(frozen=True)
class Task:
    """What labels are, and the training loss, of any method; tests report the loss without weights."""

    kind: TaskKind = option(
        "classification",
        "what a label is: one class; regression: a number, or several; multilabel: which of several labels "
        "hold",
    )
    loss: Loss | None = option(
        None,
        "what is trained on; default: cross_entropy, in regression squared_error (or absolute_error), of "
        "several labels binary_cross_entropy",
    )
    class_weights: Literal["none", "balanced"] | tuple[float, ...] = option(
        "none",
        "what an example's loss is multiplied by, by its class; balanced: the mean number of examples of a "
        "class over that of its own; a list: a weight for each class",
    )
    label_smoothing: float = option(
        0.0, "share of the label that is spread evenly over all classes (Szegedy et al., 2016)", ge=0, lt=1
    )
