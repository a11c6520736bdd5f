"""What is learnt from the labels."""

import dataclasses
from typing import Literal

from fedtp_jax.config.fields import option


@dataclasses.dataclass(frozen=True)
class Task:
    """The training loss, of any method; tests report the plain cross-entropy."""

    class_weights: Literal["none", "balanced"] | tuple[float, ...] = option(
        "none",
        "what an example's loss is multiplied by, by its class; balanced: the mean number of examples of a "
        "class over that of its own; a list: a weight for each class",
    )
    label_smoothing: float = option(
        0.0, "share of the label that is spread evenly over all classes (Szegedy et al., 2016)", ge=0, lt=1
    )
