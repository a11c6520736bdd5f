"""Which clients are adversaries."""

import numpy as np

from fedtp_jax.config import SimulationConfig
from fedtp_jax.core import rng
from fedtp_jax.core.errors import UserError


def adversary_ids(config: SimulationConfig, clients: int) -> np.ndarray:
    """Ids, ascending, of the adversaries among so many clients: those named, or a share drawn once.

    Raises UserError for a client that there is not.
    """
    wanted = config.adversaries.clients
    if not config.adversaries.asked_for:
        return np.zeros(0, np.int64)
    if isinstance(wanted, tuple):
        if strange := [k for k in wanted if not 0 <= k < clients]:
            raise UserError(f"adversaries.clients: {strange[0]} is none of the clients 0 to {clients - 1}")
        return np.unique(np.array(wanted, np.int64))
    count = round(wanted * clients)
    draw = rng.generator(config.seed, rng.Purpose.ADVERSARIES)
    return np.sort(draw.choice(clients, count, replace=False))
