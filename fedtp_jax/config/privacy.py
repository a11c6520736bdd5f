"""User-level differential privacy of what the server makes of all clients."""

import dataclasses

from fedtp_jax.config.fields import option


@dataclasses.dataclass(frozen=True)
class Privacy:
    """User-level differential privacy: clipped uploads, a Gaussian noise on their sum, Poisson cohorts.

    What the server sends everybody is private; what stays with a client is its own (joint differential
    privacy; Bietti et al., 2022).
    """

    epsilon: float | None = option(
        None, "what the whole run may spend, for which the noise is found; or give noise_multiplier", gt=0
    )
    noise_multiplier: float | None = option(
        None, "standard deviation of the noise on a round's sum of changes, in norms of the clip", gt=0
    )
    delta: float = option(1e-5, "probability with which epsilon need not hold", gt=0, lt=1)
    clip: float = option(1.0, "norm to which all that a client changes is shortened, as one vector", gt=0)
    quantile: float | None = option(
        None,
        "share of clients whose change the clip shall leave as it is, to which it moves; default: it stays",
        gt=0,
        lt=1,
    )

    @property
    def asked_for(self) -> bool:
        """Whether a run is private at all."""
        return self.epsilon is not None or self.noise_multiplier is not None
