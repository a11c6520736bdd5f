"""Quadratic functions made least over the simplex: weights that are not negative and sum to 1."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

MOST = 2000  # steps
ENOUGH = 2e-7  # by which no weight moves any more: some bits of 1


class _State(NamedTuple):
    a: jax.Array
    ahead: jax.Array  # where the momentum leads
    t: jax.Array  # [M, 1], of which the momentum is made
    moved: jax.Array
    number: jax.Array


def least_on_simplex(quadratic: jax.Array, linear: jax.Array, allowed: jax.Array) -> jax.Array:
    """[M, K] for each row b of `linear` [M, K] the a in the simplex with the least a' Q a / 2 - b' a.

    Projected gradient steps with Nesterov's momentum, which is dropped where it leads uphill (O'Donoghue &
    Candes, 2015). `quadratic` Q [K, K] is positive semidefinite; the weights of those that are not `allowed`
    [K] are 0.
    """
    among = allowed[:, None] & allowed[None, :]
    matrix = jnp.where(among, quadratic, 0.0)
    curvature = jnp.maximum(
        jnp.abs(matrix).sum(-1).max(), jnp.finfo(matrix.dtype).tiny
    )  # at least the largest
    start = project(jnp.zeros_like(linear), allowed)

    def step(state: _State) -> _State:
        a, ahead, t = state.a, state.ahead, state.t
        slope = jnp.matmul(ahead, matrix, precision=jax.lax.Precision.HIGHEST) - linear
        new = project(ahead - slope / curvature, allowed)
        uphill = jnp.sum((ahead - new) * (new - a), -1, keepdims=True) > 0
        t = jnp.where(uphill, 1.0, t)
        after = (1.0 + jnp.sqrt(1.0 + 4.0 * t**2)) / 2.0
        further = new + jnp.where(uphill, 0.0, (t - 1.0) / after) * (new - a)
        return _State(new, further, after, jnp.abs(new - ahead).max(), state.number + 1)

    def goes_on(state: _State) -> jax.Array:
        return (state.moved > ENOUGH) & (state.number < MOST)

    first = _State(start, start, jnp.ones((len(linear), 1)), jnp.array(jnp.inf), jnp.array(0))
    return jax.lax.while_loop(goes_on, step, first).a


def project(points: jax.Array, allowed: jax.Array) -> jax.Array:
    """[M, K] the nearest of the simplex to each row; 0 where not `allowed` [K].

    Some have weight, and all of them are lowered by as much. j has some if lowering all that are higher to it
    would leave less than 1 (Duchi et al., 2008, by comparisons in place of a sort).
    """
    above = jnp.where(allowed[:, None], points[:, :, None] - points[:, None, :], 0.0)
    has = allowed & (jnp.maximum(above, 0.0).sum(1) < 1.0)
    share = has.astype(points.dtype)
    by = (jnp.sum(share * points, -1, keepdims=True) - 1.0) / share.sum(-1, keepdims=True)
    return jnp.where(has, jnp.maximum(points - by, 0.0), 0.0)
