"""Multiplications and additions of a program's matrix products, counted in its jaxpr: of any device."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jax.interpreters.partial_eval import dce_jaxpr


class Product(NamedTuple):
    """A matrix product or convolution: how often it is done, what it multiplies and adds, and gives."""

    times: int
    operations: int
    numbers: int


def products_of_tick(jaxpr: Any) -> int:
    """Multiplications and additions of the matrix products and convolutions of one tick on one device.

    `jaxpr` is that of a program that runs a wave: its ticks are the loop in its loop over segments.
    """
    return products(_tick(jaxpr))


def _tick(jaxpr: Any) -> Any:
    """The jaxpr of a tick, without what nobody reads, which XLA drops too."""
    return dce_jaxpr(_inner(largest_loop(largest_loop(jaxpr))), True)[0]


def largest_loop(jaxpr: Any) -> Any:
    """The body of the loop without a known end that holds most, of those that are in no other."""
    bodies = list(_loops(jaxpr))
    if not bodies:
        raise ValueError("the program has no loop")
    return max(bodies, key=_size)


def products(jaxpr: Any) -> int:
    """Multiplications and additions of all matrix products; of loops without a known end, of one turn."""
    return sum(product.times * product.operations for product in each_product(jaxpr))


def numbers_of_product(jaxpr: Any) -> float:
    """How many numbers one matrix product of a tick gives, in the mean; infinite if there is none.

    So much of a program can be done side by side. `jaxpr` as for `products_of_tick`.
    """
    found = list(each_product(_tick(jaxpr)))
    times = sum(product.times for product in found)
    return sum(product.times * product.numbers for product in found) / times if times else math.inf


def each_product(jaxpr: Any, times: int = 1) -> Iterator[Product]:
    """All matrix products and convolutions; those of the cheapest branch, and of one turn of a loop without
    a known end."""
    for step in _inner(jaxpr).eqns:
        name, given = step.primitive.name, step.params
        if name == "dot_general":
            (contracted, _), _ = given["dimension_numbers"]
            left, numbers = step.invars[0].aval.shape, math.prod(step.outvars[0].aval.shape)
            yield Product(times, 2 * numbers * math.prod(left[axis] for axis in contracted), numbers)
        elif name == "conv_general_dilated":
            yield Product(times, _of_convolution(step), math.prod(step.outvars[0].aval.shape))
        elif name.startswith("dot_product_attention"):
            yield Product(times, _of_fused_attention(step), math.prod(step.outvars[0].aval.shape))
        elif name == "cond":
            yield from each_product(min(given["branches"], key=products), times)
        elif name == "while":
            yield from each_product(given["body_jaxpr"], times)
        else:
            turns = given["length"] if name == "scan" else 1
            for part in _parts(step):
                yield from each_product(part, turns * times)


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


def _of_fused_attention(equation: Any) -> int:
    """Of cuDNN's kernel: two products, and five in its gradient, which makes the scores again."""
    b, s, a, f = equation.invars[0].aval.shape
    return (5 if "bwd" in equation.primitive.name else 2) * 2 * b * a * s * s * f


def _loops(jaxpr: Any) -> Iterator[Any]:
    for step in _inner(jaxpr).eqns:
        if step.primitive.name == "while":
            yield step.params["body_jaxpr"]
        else:
            for part in _parts(step):
                yield from _loops(part)


def _size(jaxpr: Any) -> int:
    return sum(1 + sum(map(_size, _parts(step))) for step in _inner(jaxpr).eqns)


def _parts(step: Any) -> Iterator[Any]:
    """The jaxprs that a step of a jaxpr is made of: those of its parameters, not their derivatives' rules."""
    for value in step.params.values():
        for part in value if isinstance(value, tuple | list) else [value]:
            if hasattr(_inner(part), "eqns"):
                yield part


def _inner(jaxpr: Any) -> Any:
    """A jaxpr without its constants."""
    return getattr(jaxpr, "jaxpr", jaxpr)
