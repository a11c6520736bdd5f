"""What a tick multiplies and moves: counted in programs whose numbers are known."""

import jax
import jax.numpy as jnp
import pytest

from fedtp_jax.engine.products import numbers_of_product, products, products_of_tick
from fedtp_jax.engine.traffic import Hlo


def loop(turns, step, carry):
    """A loop whose end only the argument tells."""
    return jax.lax.fori_loop(0, turns, lambda _, carry: step(carry), carry)


def test_products_of_a_tick_are_those_of_the_inner_loop():
    def tick(x):
        y = jax.lax.scan(lambda c, _: (c @ x, None), x, None, length=3)[0]  # 3 products of 4 x 4 x 4
        return jax.lax.cond(x[0, 0] > 0, lambda y: y @ y, lambda y: y, y)  # perhaps a fourth

    def program(turns, x):
        x = x @ x  # before the wave
        segment = lambda x: loop(turns, jax.checkpoint(tick), x @ x @ x)  # noqa: E731
        return loop(turns, segment, x)

    traced = jax.make_jaxpr(program)(jnp.int32(1), jnp.zeros((4, 4)))
    assert products_of_tick(traced) == 3 * 2 * 4**3
    assert products(traced) == (3 + 2 + 1) * 2 * 4**3


def test_numbers_of_a_product_are_a_mean_over_all_that_a_tick_does():
    def tick(x):  # x [4, 4]
        wide = x @ jnp.ones((4, 8))  # of 32 numbers, then three times one of 16
        return wide[:, :4] + jax.lax.scan(lambda c, _: (c @ x, None), x, None, length=3)[0]

    def program(turns, x):
        return loop(turns, lambda x: loop(turns, tick, x @ x), x)

    traced = jax.make_jaxpr(program)(jnp.int32(1), jnp.zeros((4, 4)))
    assert numbers_of_product(traced) == (32 + 3 * 16) / 4
    traced = jax.make_jaxpr(lambda turns, x: loop(turns, lambda x: loop(turns, jnp.sin, x), x))(1, 0.0)
    assert numbers_of_product(traced) == float("inf")


def test_products_of_convolutions_and_of_lanes():
    images, kernel = jnp.zeros((2, 8, 8, 6)), jnp.zeros((3, 3, 6, 5))

    def conv(images, kernel):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(images, kernel, (1, 1), "VALID", dimension_numbers=numbers)

    traced = jax.make_jaxpr(conv)(images, kernel)
    assert products(traced) == 2 * (2 * 6 * 6 * 5) * (3 * 3 * 6)
    lanes = jax.make_jaxpr(jax.vmap(conv))(jnp.stack([images] * 4), jnp.stack([kernel] * 4))
    assert products(lanes) == 4 * products(traced)


MODULE = """HloModule jit_wave, is_scheduled=true

%sliced (p.0: f32[100,10], p.1: s32[]) -> f32[1,10] {
  %p.0 = f32[100,10]{1,0} parameter(0)
  %p.1 = s32[] parameter(1)
  ROOT %slice.1 = f32[1,10]{1,0} dynamic-slice(%p.0, %p.1, %p.1), dynamic_slice_sizes={1,10}
}

%replaced (p.2: f32[100,10], p.3: f32[1,10], p.4: s32[]) -> f32[100,10] {
  %p.2 = f32[100,10]{1,0} parameter(0)
  %p.3 = f32[1,10]{1,0} parameter(1)
  %p.4 = s32[] parameter(2)
  ROOT %put.1 = f32[100,10]{1,0} dynamic-update-slice(%p.2, %p.3, %p.4, %p.4)
}

%inner (t.1: (s32[], f32[100,10])) -> (s32[], f32[100,10]) {
  %t.1 = (s32[], f32[100,10]{1,0}) parameter(0)
  %g.1 = f32[100,10]{1,0} get-tuple-element(%t.1), index=1
  %n.1 = f32[100,10]{1,0} negate(%g.1)
  ROOT %r.1 = (s32[], f32[100,10]{1,0}) tuple(%g.1, %n.1)
}

%tick (t.2: (s32[], f32[100,10])) -> (s32[], f32[100,10]) {
  %t.2 = (s32[], f32[100,10]{1,0}) parameter(0)
  %i.2 = s32[] get-tuple-element(%t.2), index=0
  %g.2 = f32[100,10]{1,0} get-tuple-element(%t.2), index=1
TICK
  ROOT %r.2 = (s32[], f32[100,10]{1,0}) tuple(%i.2, %g.2)
}

%segment (t.3: (s32[], f32[100,10])) -> (s32[], f32[100,10]) {
  %t.3 = (s32[], f32[100,10]{1,0}) parameter(0)
  %g.3 = f32[100,10]{1,0} get-tuple-element(%t.3), index=1
  %n.3 = f32[100,10]{1,0} negate(%g.3)
  ROOT %w.3 = (s32[], f32[100,10]{1,0}) while(%t.3), condition=%less, body=%tick
}

ENTRY %main (a: (s32[], f32[100,10])) -> (s32[], f32[100,10]) {
  %a = (s32[], f32[100,10]{1,0}) parameter(0)
  ROOT %w.4 = (s32[], f32[100,10]{1,0}) while(%a), condition=%less, body=%segment
}
"""
WHOLE, SLICE, INDEX = 4000, 40, 4


@pytest.mark.parametrize(
    ("tick", "moved"),
    [
        ("%n = f32[100,10]{1,0} negate(%g.2)", 2 * WHOLE),
        ("%n = bf16[100,10]{1,0} convert(%g.2)", WHOLE + WHOLE / 2),
        ("%n = f32[100,10]{1,0} add(%g.2, %g.2)", 2 * WHOLE),  # read once
        ("%n = f32[100,10]{1,0:T(8,128)S(1)} negate(%g.2)", WHOLE),  # kept in vector memory
        ("%b = f32[1000]{0} bitcast(%g.2)", 0),
        ("%f = f32[1,10]{1,0} fusion(%g.2, %i.2), kind=kLoop, calls=%sliced", 2 * SLICE + INDEX),
        (
            "%f = f32[1,10]{1,0} fusion(%g.2, %i.2), kind=kLoop, calls=%sliced\n"
            "  %p = f32[100,10]{1,0} fusion(%g.2, %f, %i.2), kind=kLoop, calls=%replaced",
            (2 * SLICE + INDEX) + (2 * SLICE + INDEX),
        ),
        (
            "%c = (f32[100,10]{1,0:S(1)}, f32[100,10]{1,0}, u32[]{:S(2)}) copy-start(%g.2)\n"
            "  %d = f32[100,10]{1,0:S(1)} copy-done(%c)",
            WHOLE,
        ),
        ('%c = (f32[100,10]{1,0}, s8[4096]{0}) custom-call(%g.2), custom_call_target="gemm"', 2 * WHOLE),
        (
            "%w = (s32[], f32[100,10]{1,0}) while(%t.2), condition=%less, body=%inner, "
            'backend_config={"known_trip_count":{"n":"7"}}',
            7 * 2 * WHOLE,
        ),
    ],
)
def test_bytes_of_a_tick(tick, moved):
    assert Hlo(MODULE.replace("TICK", f"  {tick}")).bytes_of_tick() == moved
