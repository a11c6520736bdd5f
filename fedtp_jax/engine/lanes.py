"""The lane engine: runs any per-client work over a wave of clients in one compiled program.

A device holds L lanes side by side (vmap); the devices are the mesh's axis `clients` (shard_map). When a
lane's client is done, its upload joins the running sum, its row is stored, and the lane takes the next
client. Nothing here knows what the work is.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from fedtp_jax.core import tree
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.examples import DeviceExamples, DeviceWindows
from fedtp_jax.engine.mesh import AXIS
from fedtp_jax.engine.schedule import Tables

NOISE = 1  # word that parts the key of a step's noise from those of its dropout


class Batch(NamedTuple):
    """One local step's examples.

    Attributes:
      x: [B, ...] normalised (text: [B, T] codes).
      y: [B] (text: [B, T]).
      mask: [B] 1.0 where the example is real.
      step: number of the client's local step, below 0 in a method's prelude.
      positions: [B] of the examples among all of the data.
    """

    x: jax.Array
    y: jax.Array
    mask: jax.Array
    step: jax.Array
    positions: jax.Array


class Facts(NamedTuple):
    """What the host tells of each client, beside its batches; leading axis [K] outside the work.

    Attributes:
      weight: p_k, its share in the cohort's mean.
      last_pass: first of the last local steps, as many as a pass over its examples takes.
      steps: how many local steps the client does.
      rate: the round's factor on the learning rate.
      noise: standard deviation of the noise on its inputs.
      class_counts: [C] examples it holds of each class (C = 0 where nobody asks).
    """

    weight: jax.Array
    last_pass: jax.Array
    steps: jax.Array
    rate: jax.Array
    noise: jax.Array
    class_counts: jax.Array


class Row(NamedTuple):
    """What one client has that others do not: its own leaves, and facts."""

    leaves: Leaves
    facts: Facts


class ClientWork(NamedTuple):
    """What one client does. No axis of clients appears in these functions: they read like the paper.

    Attributes:
      start: (shared, row, key) -> carry: before the first local step.
      step: (shared, row, carry, batch, key) -> carry: one local step; `key` is of (seed, round, client, step)
        alone.
      finish: (shared, row, carry) -> (to_sum, to_keep): to_sum is summed over clients, to_keep stored.
    """

    start: Callable[[Any, Row, jax.Array], Any]
    step: Callable[[Any, Row, Any, Batch, jax.Array], Any]
    finish: Callable[[Any, Row, Any], tuple[Any, Any]]


def with_noise(work: ClientWork, clamp: bool) -> ClientWork:
    """`work` on inputs with the client's Gaussian noise, drawn anew at each step.

    `clamp` cuts the noisy inputs to [0, 255], as the authors' code does though they are normalised by then.
    """

    def step(shared: Any, row: Row, carry: Any, batch: Batch, key: jax.Array) -> Any:
        draw = jax.random.normal(jax.random.fold_in(key, NOISE), batch.x.shape)
        return work.step(shared, row, carry, _add_noise(batch, row, draw, clamp), key)

    return work._replace(step=step)


def with_steady_noise(work: ClientWork, clamp: bool) -> ClientWork:
    """`work` on inputs with the client's Gaussian noise, of which every example has its own.

    So a result does not depend on who shares a batch with whom. The carry holds the client's key.
    """

    def start(shared: Any, row: Row, key: jax.Array) -> Any:
        return jax.random.key_data(jax.random.fold_in(key, NOISE)), work.start(shared, row, key)

    def step(shared: Any, row: Row, carry: Any, batch: Batch, key: jax.Array) -> Any:
        own = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.wrap_key_data(carry[0]), batch.positions)
        draw = jax.vmap(lambda key: jax.random.normal(key, batch.x.shape[1:]))(own)
        return carry[0], work.step(shared, row, carry[1], _add_noise(batch, row, draw, clamp), key)

    def finish(shared: Any, row: Row, carry: Any) -> tuple[Any, Any]:
        return work.finish(shared, row, carry[1])

    return ClientWork(start, step, finish)


def _add_noise(batch: Batch, row: Row, draw: jax.Array, clamp: bool) -> Batch:
    x = batch.x + row.facts.noise * draw
    return batch._replace(x=jnp.clip(x, 0, 255) if clamp else x)


def run_wave(
    work: ClientWork,
    mesh: Mesh,
    tables: Tables,
    examples: DeviceExamples | DeviceWindows,
    shared: Any,
    rows: Any,
    keys: jax.Array,
) -> tuple[Any, Any]:
    """Do `work` for every client of the wave; traceable.

    Args:
      tables: from `build_schedule`, for D devices of C slots.
      shared: what all clients read; one copy per device.
      rows: a Row whose leaves are [D * C, ...], of each slot's client.
      keys: [D * C] a JAX key per slot.

    Returns:
      (sum over clients of to_sum, to_keep [D * C, ...] with zeros in empty slots).
    """

    def on_device(tables: Tables, examples: Any, shared: Any, rows: Any, keys: jax.Array) -> Any:
        tables = Tables(*(table[0] for table in tables))
        total, kept = _run_lanes(work, tables, examples, shared, rows, keys)
        return jax.lax.psum(total, AXIS), kept

    return jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(P(AXIS), P(), P(), P(AXIS), P(AXIS)),
        out_specs=(P(), P(AXIS)),
        check_vma=False,  # loops of different length per device, one psum at the end: nothing to infer
    )(tables, examples, shared, rows, keys)


def _run_lanes(
    work: ClientWork, tables: Tables, examples: Any, shared: Any, rows: Any, keys: jax.Array
) -> tuple[Any, Any]:
    """One device's segments: start lanes, run ticks without a branch, flush lanes."""
    lanes, slots = tables.slot.shape[-1], len(keys)
    start, step, finish = (_over_lanes(function, lanes) for function in work)

    def segment(s: jax.Array, state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        carry, total, kept = state
        slot, ends = tables.slot[s], tables.ends[s]
        row, key = tree.take_rows(rows, slot), keys[slot]
        carry = tree.where_rows(tables.starts[s], start(shared, row, key), carry)

        def tick(t: jax.Array, carry: Any) -> Any:
            positions, number = tables.positions[t], tables.step[t]
            mask = jnp.arange(positions.shape[-1]) < tables.valid[t][:, None]
            x, y = examples.pick(positions)
            batch = Batch(x, y, mask.astype(jnp.float32), number, positions)
            return step(shared, row, carry, batch, jax.vmap(jax.random.fold_in)(key, number))

        carry = jax.lax.fori_loop(tables.bounds[s], tables.bounds[s + 1], tick, carry)
        to_sum, to_keep = finish(shared, row, carry)
        ended = tree.where_rows(ends, to_sum, jax.tree.map(jnp.zeros_like, to_sum))
        total = tree.add(total, jax.tree.map(lambda leaf: leaf.sum(0), ended))
        return carry, total, tree.put_rows(kept, jnp.where(ends, slot, slots), to_keep)

    some = jnp.zeros(lanes, jnp.int32)
    carries = jax.eval_shape(lambda: start(shared, tree.take_rows(rows, some), keys[some]))
    sums, keeps = jax.eval_shape(lambda carry: finish(shared, tree.take_rows(rows, some), carry), carries)
    state = (
        jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), carries),
        jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:], leaf.dtype), sums),
        jax.tree.map(lambda leaf: jnp.zeros((slots, *leaf.shape[1:]), leaf.dtype), keeps),
    )
    _, total, kept = jax.lax.fori_loop(0, tables.segments, segment, state)
    return total, kept


def _over_lanes(function: Callable[..., Any], lanes: int) -> Callable[..., Any]:
    """`function(shared, ...)` for every lane: what follows `shared`, and the results, have a leading axis.

    A single lane runs without it: XLA's reductions on CPU are several times slower with an axis of size 1.
    """
    if lanes > 1:
        return lambda shared, *own: jax.vmap(lambda *own: function(shared, *own))(*own)

    def alone(shared: Any, *own: Any) -> Any:
        result = function(shared, *jax.tree.map(lambda leaf: leaf[0], own))
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], result)  # it may be a number of Python's

    return alone
