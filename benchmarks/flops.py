"""Floating-point operations of a local step, counted from its program, and the machine's peak, measured."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.interpreters.partial_eval import dce_jaxpr
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from benchmarks.timing import seconds_of
from fedtp_jax.engine.lanes import Batch
from fedtp_jax.engine.mesh import AXIS, per_device
from fedtp_jax.engine.products import products
from fedtp_jax.learning.task import Task

TRIES = 8


def training_flops(task: Task, batch: int) -> int:
    """Those of matrix products and convolutions in a loss and its gradient over `batch` examples.

    A multiplication and an addition count as two; element-wise work counts nothing.
    """
    leaves = task.leaf_shapes()
    x = jax.ShapeDtypeStruct((batch, *task.inputs.shape), task.inputs.example.dtype)
    labels = x.shape if task.inputs.each_position else (batch,)
    y = jax.ShapeDtypeStruct(labels, jnp.int32)

    def loss(leaves: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        seen = Batch(x, y, jnp.ones(batch), jnp.zeros((), jnp.int32), jnp.arange(batch))
        return task.loss(task.forward(leaves, x, seen.mask, jax.random.key(0)).logits, seen)

    needed, _ = dce_jaxpr(jax.make_jaxpr(jax.grad(loss))(leaves, x, y).jaxpr, True)
    return products(needed)


def measured_peak(mesh: Mesh) -> float:
    """FLOP/s of float32 matrix products, one on every device at once; the best of several.

    At JAX's default precision, with which the models multiply too (on NVIDIA's GPUs TF32).
    """
    side = 2048 if mesh.devices.flat[0].platform == "cpu" else 8192
    a = jax.device_put(jnp.ones((mesh.size, side, side)), per_device(mesh))

    @jax.jit
    def multiply(a: jax.Array) -> jax.Array:
        return jax.shard_map(lambda a: (a[0] @ a[0])[None], mesh=mesh, in_specs=P(AXIS), out_specs=P(AXIS))(a)

    multiply(a).block_until_ready()
    best = min(seconds_of(lambda: multiply(a).block_until_ready()) for _ in range(TRIES))
    return mesh.size * 2 * side**3 / best
