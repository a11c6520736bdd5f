"""`engine.lanes: auto` where the compiler itself says that a layout does not fit."""

from types import SimpleNamespace

import pytest
from jax.errors import JaxRuntimeError

from fedtp_jax.engine.programs import program_bytes
from fedtp_jax.engine.workbench import Workbench
from tests.method_cases import simulator


@pytest.fixture(scope="module")
def bench():
    return simulator("fedavg", "cnn").bench


def plan(bench, bytes_of):
    return bench.plan([9] * 16, 16, batch=4, row_bytes=1, bytes_of=bytes_of)


def test_lanes_are_halved_until_the_program_compiles(bench, monkeypatch):
    monkeypatch.setattr(Workbench, "on_accelerator", True)
    tried = []

    def bytes_of(layout):
        tried.append(layout.lanes)
        if layout.lanes > 4:
            raise JaxRuntimeError("RESOURCE_EXHAUSTED: 35.02G exceeds available HBM (15.75G)")
        return 1

    assert plan(bench, bytes_of).lanes == 4
    assert tried == [16, 8, 4]


def test_any_other_failure_of_the_compiler_is_shown(bench, monkeypatch):
    monkeypatch.setattr(Workbench, "on_accelerator", True)

    def bytes_of(layout):
        raise JaxRuntimeError("INTERNAL: no such instruction")

    with pytest.raises(JaxRuntimeError, match="no such instruction"):
        plan(bench, bytes_of)


def test_a_programs_code_takes_memory_too():
    sizes = {"argument": 100, "output": 30, "temp": 7, "alias": 20, "generated_code": 5000}
    use = SimpleNamespace(**{f"{what}_size_in_bytes": size for what, size in sizes.items()})
    assert program_bytes(SimpleNamespace(memory_analysis=lambda: use)) == 100 + 30 + 7 - 20 + 5000
