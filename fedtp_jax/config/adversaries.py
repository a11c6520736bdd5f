"""Clients that work against the others."""

import dataclasses
from typing import Literal

from fedtp_jax.config.fields import option


@dataclasses.dataclass(frozen=True)
class Adversaries:
    """Clients that work against the others, in every round to which they come.

    They train on labels turned round or on images with a trigger, or send what has nothing to do with their
    data, after Li et al. (Ditto, 2021, section 4.1) and Bagdasaryan et al. (2020).
    """

    clients: float | tuple[int, ...] = option(
        0.0, "share of all clients that are adversaries, drawn once, or these, by number", ge=0, le=1
    )
    kind: Literal["label_flip", "random_update", "boost", "backdoor"] = option(
        "label_flip",
        "label_flip: class c becomes C - 1 - c; random_update: noise as large as their change; boost: "
        "label_flip, and the change times `factor`; backdoor: a trigger stands for `target`",
    )
    factor: float | None = option(
        None,
        "boost, backdoor: what the change is multiplied by; default: boost cohort_size, backdoor 1",
        gt=0,
    )
    target: int = option(0, "backdoor: the class that images with the trigger are to be taken for", ge=0)
    trigger: int = option(3, "backdoor: side of the white square in the lower right corner, in pixels", ge=1)
    poisoned: float = option(0.5, "backdoor: share of the examples of a batch that carry it", gt=0, le=1)

    @property
    def asked_for(self) -> bool:
        """Whether there are any."""
        return self.clients not in (0.0, ())
