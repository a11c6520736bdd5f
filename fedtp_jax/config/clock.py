"""The time that devices would take."""

import dataclasses
from typing import Literal

from fedtp_jax.config.fields import option
from fedtp_jax.core.errors import UserError


@dataclasses.dataclass(frozen=True)
class Clock:
    """Seconds that rounds would take on devices of other speeds and links; by default nobody counts them.

    Clients' speeds and links are constant, or log-normal (a sigma above 0), drawn once by the seed; or each
    client's are in a file.
    """

    speed: float | None = option(
        None, "work per second of the median client, in `unit`; default: training takes no time", gt=0
    )
    unit: Literal["steps", "examples"] = option("steps", "what speeds count: local steps, or examples")
    speed_sigma: float = option(
        0.0, "standard deviation over the clients of log speed; 0: all are alike", ge=0, le=10
    )
    down: float | None = option(
        None, "bytes per second that the median client receives; default: that takes no time", gt=0
    )
    up: float | None = option(
        None, "bytes per second that the median client sends; default: that takes no time", gt=0
    )
    link_sigma: float = option(
        0.0, "standard deviation of a log factor on both of a client's links; 0: all are alike", ge=0, le=10
    )
    trace: str | None = option(
        None,
        "CSV file client,speed,down,up in the same units, with a line for each client with train "
        "examples, in place of a draw",
    )
    deadline: float | None = option(
        None, "seconds after which a round ends without those that have not returned", gt=0
    )
    late: Literal["drop", "partial"] = option(
        "drop",
        "who would miss the deadline. drop: does not return; partial: does as many local steps as fit, and "
        "does not return where none fits",
    )

    @property
    def asked_for(self) -> bool:
        """Whether anything takes time."""
        return any(value is not None for value in (self.speed, self.down, self.up, self.trace))


def check_clock(clock: Clock) -> None:
    """Raise UserError for fields that contradict each other."""
    for name in ("speed", "down", "up"):
        if clock.trace and getattr(clock, name) is not None:
            raise UserError(
                f"training.clock.{name}: {getattr(clock, name)}, but training.clock.trace says it of each "
                "client; leave one of them out"
            )
    if clock.deadline is not None and not clock.asked_for:
        raise UserError(
            f"training.clock.deadline: {clock.deadline}, but nothing takes time; give training.clock.speed, "
            "down or up, or a trace"
        )
