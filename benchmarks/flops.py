"""Floating-point operations of a local step, counted from its program, and the machine's peak, measured."""

import math
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from jax.interpreters.partial_eval import dce_jaxpr
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from benchmarks.timing import seconds_of
from fedtp_jax.engine.lanes import Batch
from fedtp_jax.engine.mesh import AXIS, per_device
from fedtp_jax.learning.task import Task

TRIES = 8


def training_flops(task: Task, batch: int) -> int:
    """Those of matrix products and convolutions in a loss and its gradient over `batch` examples.

    A multiplication and an addition count as two; element-wise work counts nothing.
    """
    leaves = task.leaf_shapes()
    x = jax.ShapeDtypeStruct((batch, *task.example.shape[1:]), task.example.dtype)
    labels = x.shape if task.example.dtype == jnp.int32 else (batch,)
    y = jax.ShapeDtypeStruct(labels, jnp.int32)

    def loss(leaves: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        seen = Batch(x, y, jnp.ones(batch), jnp.zeros((), jnp.int32), jnp.arange(batch))
        return task.cross_entropy(task.forward(leaves, x, seen.mask, jax.random.key(0)).logits, seen)

    needed, _ = dce_jaxpr(jax.make_jaxpr(jax.grad(loss))(leaves, x, y).jaxpr, True)
    return _count(needed)


def _count(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            total += _of_product(equation)
        elif equation.primitive.name == "conv_general_dilated":
            total += _of_convolution(equation)
        else:
            inner = sum(_count(part) for part in jax.extend.core.jaxprs_in_params(equation.params))
            total += equation.params.get("length", 1) * inner if inner else 0
    return total


def _of_product(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    depth = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    return 2 * int(depth) * math.prod(equation.outvars[0].aval.shape)


def _of_convolution(equation: Any) -> int:
    """Products with padding, and with the zeros between dilated inputs, do not count."""
    params, (image, kernel) = equation.params, (var.aval.shape for var in equation.invars)
    numbers, out = params["dimension_numbers"], equation.outvars[0].aval.shape
    pairs = 1
    for axis, (a, k, o) in enumerate(
        zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True)
    ):
        low, dilation = params["padding"][axis][0], params["lhs_dilation"][axis]
        at = np.arange(out[o])[:, None] * params["window_strides"][axis] - low
        at = at + np.arange(kernel[k]) * params["rhs_dilation"][axis]
        inside = (at >= 0) & (at <= (image[a] - 1) * dilation) & (at % dilation == 0)
        pairs *= int(inside.sum())
    examples, features = (out[axis] for axis in numbers.out_spec[:2])
    return 2 * examples * features * kernel[numbers.rhs_spec[1]] * pairs


def measured_peak(mesh: Mesh) -> float:
    """FLOP/s of float32 matrix products, one on every device at once; the best of several.

    At JAX's default precision, with which the models multiply too (on NVIDIA's GPUs TF32).
    """
    side = 2048 if mesh.devices.flat[0].platform == "cpu" else 8192
    a = jax.device_put(jnp.ones((mesh.size, side, side)), per_device(mesh))

    @jax.jit
    def products(a: jax.Array) -> jax.Array:
        return jax.shard_map(lambda a: (a[0] @ a[0])[None], mesh=mesh, in_specs=P(AXIS), out_specs=P(AXIS))(a)

    products(a).block_until_ready()
    best = min(seconds_of(lambda: products(a).block_until_ready()) for _ in range(TRIES))
    return mesh.size * 2 * side**3 / best
