"""The noise on what a round's clients send together, and what the rounds spend."""

from typing import Any

import jax

from fedtp_jax.config import SimulationConfig
from fedtp_jax.core import rng
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.programs import Programs
from fedtp_jax.learning.method import Upload
from fedtp_jax.simulation.accounting import epsilon, noise_multiplier


class PrivateRounds:
    """Of a simulation that is private; of any other nothing happens here.

    Args:
      config: the simulation's.
      candidates: clients that may come to a round.
      programs: where the noise is drawn.

    Attributes:
      share: with which probability a client comes to a round; noise: in norms of the clip; both 0 of a
        simulation that is not private.
    """

    def __init__(self, config: SimulationConfig, candidates: int, programs: Programs) -> None:
        self._config, self._programs = config, programs
        self.share = self.noise = 0.0
        if config.privacy.asked_for:
            self.share = config.training.cohort_size / candidates
            self.noise = noise_multiplier(config.privacy, self.share, config.training.rounds)

    def added(self, totals: tuple[Upload, Leaves], round: int) -> tuple[Upload, Leaves]:
        """A round's sums (changes of shared leaves, gradient of the hypernetwork) with the noise on them."""
        if not self.noise:
            return totals
        key = rng.key(self._config.seed, rng.Purpose.PRIVACY, round)
        noisy: tuple[Upload, Leaves] = self._programs("noise", self._add, *totals, key)
        return noisy

    def epsilon(self, rounds: int) -> float | None:
        """What so many rounds have spent."""
        if not self.noise:
            return None
        return epsilon(self.noise, self.share, rounds, self._config.privacy.delta)

    @property
    def in_words(self) -> str:
        """What the whole run spends, and by what; "" of one that is not private."""
        if not self.noise:
            return ""
        privacy, rounds = self._config.privacy, self._config.training.rounds
        after = f"at delta {privacy.delta:g} after {count_of(rounds, 'round')}"
        return (
            f"epsilon {self.epsilon(rounds):.3f} {after}: noise "
            f"of {self.noise:.4g} norms of the clip, {privacy.clip:g}; a client comes with probability "
            f"{self.share:.4g}"
        )

    def _add(self, upload: Upload, gradient: Leaves, key: jax.Array) -> tuple[Upload, Leaves]:
        # sums are over the number of clients that come on the mean
        std = self.noise * self._config.privacy.clip / self._config.training.cohort_size
        leaves, places = jax.tree.flatten((upload.shared, gradient))
        keys = jax.random.split(key, len(leaves))
        noisy: Any = [w + std * jax.random.normal(k, w.shape) for w, k in zip(leaves, keys, strict=True)]
        shared, gradient = jax.tree.unflatten(places, noisy)
        return upload._replace(shared=shared), gradient
