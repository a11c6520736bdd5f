"""How fast each client's device and its links are: alike, drawn once by the seed, or as a file says."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fedtp_jax.config import SimulationConfig
from fedtp_jax.core import rng
from fedtp_jax.core.client_names import by_name, called
from fedtp_jax.core.errors import UserError, user_path
from fedtp_jax.simulation.trace_file import number_in_cell, trace_lines

TRACE = "training.clock.trace"
COLUMNS = ["client", "speed", "down", "up"]


class Speeds(NamedTuple):
    """[N] each: work per second (clock.unit), bytes per second down and up; infinite: it takes no time."""

    work: np.ndarray
    down: np.ndarray
    up: np.ndarray


def client_speeds(config: SimulationConfig, sizes: np.ndarray, names: Sequence[str] = ()) -> Speeds:
    """Those of all clients: a client's own are a function of the seed and its number alone.

    `sizes` [N]: train examples; `names` [N] of clients, or none. Raises UserError for a client with some that
    a file does not name, and as `traced_speeds` does.
    """
    clock, traced = config.training.clock, traced_speeds(config, len(sizes), names)
    if traced is not None:
        missing = np.flatnonzero(np.isnan(traced[0]) & (sizes > 0))
        if len(missing):
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise UserError(
                f"{TRACE}: {clock.trace} has no line for client {called(int(missing[0]), names)}{more}; give "
                "each client with train examples a line"
            )
        return Speeds(*traced)
    draws = rng.generator(config.seed, rng.Purpose.CLOCK).standard_normal((len(sizes), 2))
    work, link = np.exp(draws * (clock.speed_sigma, clock.link_sigma)).T
    medians = (math.inf if value is None else value for value in (clock.speed, clock.down, clock.up))
    return Speeds(*(median * factor for median, factor in zip(medians, (work, link, link), strict=True)))


def traced_speeds(config: SimulationConfig, num_clients: int, names: Sequence[str] = ()) -> np.ndarray | None:
    """[3, N] speed, down and up as training.clock.trace says, NaN where it does not; None without one.

    Raises UserError for a file that is missing or holds anything else.
    """
    path = config.training.clock.trace
    if path is None:
        return None
    known, found = by_name(names), np.full((3, num_clients), np.nan)
    for where, row in trace_lines(TRACE, user_path(path), COLUMNS):
        who = number_in_cell(row[0], known, num_clients, where)
        try:
            client, *speeds = int(who), *map(float, row[1:])
        except ValueError:
            speeds = []
        if len(speeds) != 3 or not all(0 < speed < math.inf for speed in speeds):
            raise UserError(
                f"{where}: got {','.join(row)[:80]!r}, expected a client and three numbers above 0"
            )
        if not 0 <= client < num_clients:
            raise UserError(f"{where}: got client {client}, expected one from 0 to {num_clients - 1}")
        if not np.isnan(found[0, client]):
            raise UserError(
                f"{where}: client {called(client, names)} has a line already; leave one of them out"
            )
        found[:, client] = speeds
    return found
