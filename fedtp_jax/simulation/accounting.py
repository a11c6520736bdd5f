"""What a private run spends: epsilon of so many rounds, and the noise for what may be spent.

By the privacy loss distribution (Koskela, Jalko, Honkela, AISTATS 2020; Google's dp-accounting), for the
addition or removal of one client, Poisson cohorts and Gaussian noise.
"""

import contextlib
import functools
import json
import math
import os
from pathlib import Path
from typing import Any

from fedtp_jax.config import Privacy
from fedtp_jax.core.errors import UserError, in_one_line

CLOSE = 1e-4  # to which a noise multiplier is found


def noise_multiplier(privacy: Privacy, share: float, rounds: int) -> float:
    """The standard deviation of the noise on a round's sum, in norms of the clip.

    That of the settings, or the least by which `rounds` rounds, to each of which a client comes with
    probability `share`, spend no more than privacy.epsilon. That takes half a minute once: what was found is
    kept in the user's cache folder.
    """
    if privacy.noise_multiplier is not None:
        return privacy.noise_multiplier
    assert privacy.epsilon is not None, "one of the two is given"
    return _found(privacy.epsilon, privacy.delta, share, rounds)


@functools.cache
def epsilon(noise: float, share: float, rounds: int, delta: float) -> float:
    """What so many rounds spend at `delta`."""
    accountant = _accountant()
    accountant.compose(_round(share, noise), rounds)
    return float(accountant.get_epsilon(delta))


@functools.cache
def _found(target: float, delta: float, share: float, rounds: int) -> float:
    file, key = _cache(), f"{target} {delta} {share} {rounds}"
    known: dict[str, float] = {}
    with contextlib.suppress(OSError, ValueError, TypeError):
        read = json.loads(file.read_text()) if file else {}
        known = {name: float(value) for name, value in dict(read).items() if 0 < float(value) < math.inf}
    if key not in known:
        known[key] = _search(target, delta, share, rounds)
        with contextlib.suppress(OSError):
            if file:
                file.parent.mkdir(parents=True, exist_ok=True)
                whole = file.with_suffix(f".{os.getpid()}")  # another process may read it meanwhile
                whole.write_text(json.dumps(known))
                whole.replace(file)
    return known[key]


def _search(target: float, delta: float, share: float, rounds: int) -> float:
    package = _package()
    try:
        found = package.calibrate_dp_mechanism(
            _accountant,
            lambda noise: package.SelfComposedDpEvent(_round(share, noise), rounds),
            target,
            delta,
            package.LowerEndpointAndGuess(0.05, 1.0),
            tol=CLOSE,
        )
    except Exception as error:  # of the package, where no noise will do
        raise UserError(
            f"privacy.epsilon: {target}, for which no noise is found: {rounds:,} rounds spend less with "
            f"hardly any, or more with a great deal ({in_one_line(error)}); give privacy.noise_multiplier"
        ) from error
    return float(found)


def _cache() -> Path | None:
    with contextlib.suppress(RuntimeError):  # no home
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fedtp_jax" / "noise.json"
    return None


def _round(share: float, noise: float) -> Any:
    package = _package()
    return package.PoissonSampledDpEvent(share, package.GaussianDpEvent(noise))


def _accountant() -> Any:
    package = _package()
    return package.pld.PLDAccountant(package.NeighboringRelation.ADD_OR_REMOVE_ONE)


def _package() -> Any:
    try:
        import dp_accounting
        import dp_accounting.pld
    except ImportError:
        raise UserError(
            "privacy: needs dp-accounting; install it with pip install 'fedtp_jax[privacy]'"
        ) from None
    return dp_accounting
