"""What becomes of an upload on its way from a client to the server, step by step."""

import dataclasses

from fedtp_jax.config.fields import option


@dataclasses.dataclass(frozen=True)
class Clip:
    """Shortened to a norm, where it is longer (norm clipping; McMahan et al., 2018, section 3)."""

    norm: float = option(
        1.0, "the longest that the change of all uploaded parameters may be, in 2-norm", gt=0
    )


@dataclasses.dataclass(frozen=True)
class Noise:
    """Gaussian noise by each client, after `clip`."""

    multiplier: float = option(0.1, "its standard deviation, in norms of the clip before it", gt=0)


@dataclasses.dataclass(frozen=True)
class Quantize:
    """Unbiased stochastic rounding (QSGD; Alistarh et al., 2017), scaled by each leaf's largest entry."""

    bits: int = option(8, "of an entry, its sign included", ge=2, le=16)


@dataclasses.dataclass(frozen=True)
class TopK:
    """The largest entries alone (Aji and Heafield, 2017; with error feedback Stich et al., 2018)."""

    share: float = option(0.1, "of all entries that are sent", gt=0, le=1)
    error_feedback: bool = option(True, "add what was not sent to the client's next upload")


@dataclasses.dataclass(frozen=True)
class RandomK:
    """Entries drawn by lot alone (Konecny et al., 2016), times 1 / share unless there is error feedback."""

    share: float = option(0.1, "of all entries that are sent", gt=0, le=1)
    error_feedback: bool = option(False, "add what was not sent to the client's next upload")


@dataclasses.dataclass(frozen=True)
class Sign:
    """Signs, times each leaf's mean size (Karimireddy et al., 2019)."""

    error_feedback: bool = option(True, "add what was not sent to the client's next upload")


UPLOADS: dict[str, type] = {
    "clip": Clip,
    "noise": Noise,
    "quantize": Quantize,
    "top_k": TopK,
    "random_k": RandomK,
    "sign": Sign,
}
ORDER: tuple[tuple[type, ...], ...] = (  # in which steps are taken
    (Clip,),
    (Noise,),
    (TopK, RandomK),
    (Quantize, Sign),
)
Uploads = tuple[Clip | Noise | Quantize | TopK | RandomK | Sign, ...]
