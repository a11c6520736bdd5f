"""What the server makes of a cohort's changes."""

import dataclasses

from fedtp_jax.config.fields import option


@dataclasses.dataclass(frozen=True)
class Mean:
    """The mean, in which clients count by server.weighting (FedAvg)."""


@dataclasses.dataclass(frozen=True)
class Median:
    """Entry by entry the median (Yin et al., 2018)."""


@dataclasses.dataclass(frozen=True)
class TrimmedMean:
    """Entry by entry the mean without the smallest and the largest (Yin et al., 2018)."""

    share: float = option(0.1, "of the cohort, left out at each end of every entry", ge=0, lt=0.5)


@dataclasses.dataclass(frozen=True)
class Krum:
    """The change that is nearest to most others, or the mean of a few such (Blanchard et al., 2017)."""

    attackers: int | None = option(
        None,
        "clients of a cohort that may send anything; default: the most that it stands, (n - 3) / 2 of n",
        ge=0,
    )
    selected: int = option(1, "of how many changes the mean is taken; above 1: multi-Krum", ge=1)


@dataclasses.dataclass(frozen=True)
class GeometricMedian:
    """The point of least summed distance to all changes (RFA; Pillutla et al., 2022)."""


AGGREGATIONS: dict[str, type] = {
    "mean": Mean,
    "median": Median,
    "trimmed_mean": TrimmedMean,
    "krum": Krum,
    "geometric_median": GeometricMedian,
}
COUNTING_ALIKE = (Median, TrimmedMean, Krum)  # rules to which no client is more than another
