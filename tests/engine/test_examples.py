"""Examples lie flat on the devices, whatever their shape, and a batch has it again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ragged_clients import make_simulator

from fedtp_jax.engine.examples import DeviceExamples, normalize


@pytest.mark.parametrize("shape", [(), (5,), (4, 6, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_batch_has_the_shape_of_its_examples(shape, dtype):
    x = np.random.default_rng(0).integers(0, 256, (7, *shape)).astype(dtype)
    y, scale = jnp.arange(7), (jnp.array([0.5]), jnp.array([0.25]))
    examples = DeviceExamples(jnp.asarray(x.reshape(7, -1)), y, *scale, shape=shape)
    positions = jnp.array([[3, 0], [6, 6], [1, 2]])
    inputs, labels = jax.jit(DeviceExamples.pick)(examples, positions)
    expected = jax.jit(normalize)(x[np.asarray(positions)].reshape(3, 2, *shape), *scale)
    assert inputs.shape == (3, 2, *shape)
    np.testing.assert_array_equal(inputs, expected)
    np.testing.assert_array_equal(labels, positions)


def test_a_bench_holds_them_flat():
    bench = make_simulator("fedavg").bench
    assert len(bench.examples.shape) == 3
    assert bench.examples.x.shape == (len(bench.examples.y), np.prod(bench.examples.shape))
    assert len(jax.tree.leaves(bench.examples)) == 4, "the shape is no argument of a program"
