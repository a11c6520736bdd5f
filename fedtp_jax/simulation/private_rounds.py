"""The noise on what a round's clients send together, and what the rounds spend."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedtp_jax.config import SimulationConfig
from fedtp_jax.core import rng, tree
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.programs import Programs
from fedtp_jax.learning.method import Upload
from fedtp_jax.simulation.accounting import epsilon, noise_multiplier
from fedtp_jax.uploads.private import CLIP

LITTLE = 1.6  # times the noise: that of a count for which the changes have 5 % more


class PrivateRounds:
    """Of a simulation that is private; of any other nothing happens here.

    Args:
      config: the simulation's.
      candidates: clients that may come to a round.
      programs: where the noise is drawn.

    Attributes:
      share: with which probability a client comes to a round; noise: of all that a round tells, in norms
        of the clip; both 0 of a simulation that is not private.
    """

    def __init__(self, config: SimulationConfig, candidates: int, programs: Programs) -> None:
        self._config, self._programs = config, programs
        self.share = self.noise = 0.0
        if config.privacy.asked_for:
            self.share = config.training.cohort_size / candidates
            self.noise = noise_multiplier(config.privacy, self.share, config.training.rounds)
        self._count, self._changes = 0.0, self.noise
        if self.noise and config.privacy.quantile is not None:
            # the two together tell as much as changes with all of the noise and no count
            self._count = max(config.training.cohort_size / 20, LITTLE * self.noise)
            self._changes = (self.noise**-2 - (2 * self._count) ** -2) ** -0.5

    def added(self, totals: tuple[Upload, Leaves], round: int, sent: Leaves) -> tuple[Upload, Leaves]:
        """A round's sums (changes of shared leaves, gradient of the hypernetwork) with the noise on them.

        Their weight is 1, which does not tell how many clients came. `sent`: the shared leaves that those
        were sent.
        """
        if not self.noise:
            return totals
        key = rng.key(self._config.seed, rng.Purpose.PRIVACY, round)
        clip = {CLIP: sent[CLIP]} if CLIP in sent else {}
        # seeds share the program, and each may have noise of its own
        noises = np.float32(self._changes), np.float32(self._count)
        noisy: tuple[Upload, Leaves] = self._programs("noise", self._add, *totals, clip, noises, key)
        return noisy

    def columns(self, round: int, shared: Leaves, evaluated: bool) -> dict[str, float | None]:
        """Of metrics.csv: what so many rounds have spent, and the clip where it moves."""
        if not self.noise:
            return {}
        found = {"epsilon": self.epsilon(round) if evaluated else None}
        if CLIP in shared:
            found["clip"] = float(jax.device_get(shared[CLIP])) if evaluated else None
        return found

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
        moves = "" if privacy.quantile is None else f" at first, then towards quantile {privacy.quantile:g}"
        after = f"at delta {privacy.delta:g} after {count_of(rounds, 'round')}"
        return (
            f"epsilon {self.epsilon(rounds):.3f} {after}: noise of {self.noise:.4g} norms of the clip, "
            f"{privacy.clip:g}{moves}; a client comes with probability {self.share:.4g}"
        )

    def _add(
        self, upload: Upload, gradient: Leaves, clip: Leaves, noises: Any, key: jax.Array
    ) -> tuple[Upload, Leaves]:
        # sums are over the number of clients that come on the mean
        clients, (of_changes, of_count) = self._config.training.cohort_size, noises
        std = of_changes * clip.get(CLIP, jnp.float32(self._config.privacy.clip)) / clients
        leaves, places = jax.tree.flatten((upload.shared, gradient))
        of_shared = {path: of_count / clients if path == CLIP else std for path in upload.shared}
        stds = jax.tree.leaves((of_shared, dict.fromkeys(gradient, std)))
        keys = jax.random.split(key, len(leaves))
        draws = [std * jax.random.normal(k, w.shape) for w, std, k in zip(leaves, stds, keys, strict=True)]
        noise: Any = jax.tree.unflatten(places, draws)
        shared, gradient = tree.add((upload.shared, gradient), noise)
        return Upload(shared, jnp.ones(())), gradient
