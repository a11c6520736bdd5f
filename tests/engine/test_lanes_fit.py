"""`engine.lanes: auto`: as many as fill a device, and fewer where the compiler says that they do not fit."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.errors import JaxRuntimeError

from fedtp_jax import UserError
from fedtp_jax.engine import workbench
from fedtp_jax.engine.programs import Programs, program_bytes
from fedtp_jax.engine.workbench import Workbench
from tests.method_cases import simulator

# what libtpu raises of a program that is larger than a v5e
TOO_LARGE = (
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (160.00G) "
    "exceeds available HBM (15.75G)."
)


@pytest.fixture(scope="module")
def bench():
    return simulator("fedavg", "cnn").bench


@pytest.fixture
def compiler(monkeypatch):
    """A compiler that does what it is given for every program of these arguments."""

    def install(fails):
        compile = jax.stages.Lowered.compile

        def failing(lowered, *rest):
            fails(lowered.in_avals[0][0].shape)
            return compile(lowered, *rest)

        monkeypatch.setattr(jax.stages.Lowered, "compile", failing)

    return install


def wave(x, turns):
    """Ticks in segments; each tick is a product [2, 3] of every lane."""

    def tick(_, x):
        return x @ jnp.ones((3, 3))

    return jax.lax.fori_loop(0, turns, lambda _, x: jax.lax.fori_loop(0, turns, tick, x), x)


def plan(bench, tried):
    def program(what, layout):
        if what.__name__ == "num_bytes":
            tried.append(layout.lanes)
        x = jax.ShapeDtypeStruct((layout.lanes, 2, 3), np.float32)
        return getattr(Programs(), what.__name__)("train", wave, x, np.int32(1))

    return bench.plan([9] * 16, 16, batch=4, row_bytes=1, program=program)


def test_lanes_are_halved_until_the_program_compiles(bench, monkeypatch, compiler):
    def fails(shape):
        if shape[0] > 4:
            raise JaxRuntimeError(TOO_LARGE)

    compiler(fails)
    monkeypatch.setattr(Workbench, "on_accelerator", True)
    tried = []
    assert plan(bench, tried).lanes == 4
    assert tried == [16, 8, 4]


@pytest.mark.parametrize(("platform", "lanes"), [("gpu", 16), ("tpu", 3)])
def test_lanes_are_no_more_than_fill_the_device(bench, monkeypatch, platform, lanes):
    devices = np.array([SimpleNamespace(platform=platform)], object)
    mesh = SimpleNamespace(size=1, devices=devices, local_devices=[SimpleNamespace(memory_stats=dict)])
    monkeypatch.setattr(bench, "mesh", mesh)
    monkeypatch.setattr(workbench, "FULL_TPU", 4 * 6 - 1)
    assert plan(bench, []).lanes == lanes


def test_a_program_that_never_fits_is_a_users_mistake(compiler):
    def fails(shape):
        raise JaxRuntimeError(TOO_LARGE)

    compiler(fails)
    with pytest.raises(
        UserError, match=r"'train' takes more than a device has \(.*160.00G.*use fewer engine.lanes"
    ):
        Programs()("train", lambda x: x + 1, np.zeros(3, np.float32))


def test_any_other_failure_of_the_compiler_is_shown(bench, monkeypatch, compiler):
    def fails(shape):
        raise JaxRuntimeError("INTERNAL: no such instruction")

    compiler(fails)
    monkeypatch.setattr(Workbench, "on_accelerator", True)
    with pytest.raises(JaxRuntimeError, match="no such instruction"):
        plan(bench, [])


def test_a_programs_code_takes_memory_too():
    sizes = {"argument": 100, "output": 30, "temp": 7, "alias": 20, "generated_code": 5000}
    use = SimpleNamespace(**{f"{what}_size_in_bytes": size for what, size in sizes.items()})
    assert program_bytes(SimpleNamespace(memory_analysis=lambda: use)) == 100 + 30 + 7 - 20 + 5000
