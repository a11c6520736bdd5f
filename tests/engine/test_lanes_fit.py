"""`engine.lanes: auto` where the compiler itself says that a layout does not fit."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from jax.errors import JaxRuntimeError

from fedtp_jax import UserError
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


def plan(bench, tried):
    def bytes_of(layout):
        tried.append(layout.lanes)
        lanes = jax.ShapeDtypeStruct((layout.lanes,), np.float32)
        return Programs().num_bytes("train", lambda x: x + 1, lanes)

    return bench.plan([9] * 16, 16, batch=4, row_bytes=1, bytes_of=bytes_of)


def test_lanes_are_halved_until_the_program_compiles(bench, monkeypatch, compiler):
    def fails(shape):
        if shape[0] > 4:
            raise JaxRuntimeError(TOO_LARGE)

    compiler(fails)
    monkeypatch.setattr(Workbench, "on_accelerator", True)
    tried = []
    assert plan(bench, tried).lanes == 4
    assert tried == [16, 8, 4]


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
