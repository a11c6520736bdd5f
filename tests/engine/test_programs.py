"""Which of XLA's options programs are compiled with."""

from concurrent.futures import wait

import jax
import numpy as np
import pytest

from fedtp_jax.engine import programs


@pytest.fixture
def options(monkeypatch):
    """Those that the compiler is given, call by call."""
    given, compile = [], jax.stages.Lowered.compile
    monkeypatch.setattr(
        jax.stages.Lowered, "compile", lambda self, options: given.append(options) or compile(self, options)
    )
    return given


def test_a_cpu_has_options_of_its_own_where_the_user_set_none(monkeypatch, options):
    for flags, expected in (
        ("", programs.ON_CPU),
        ("--xla_backend_optimization_level=0", {"xla_cpu_prefer_vector_width": 512}),
    ):
        monkeypatch.setenv("XLA_FLAGS", flags)
        assert programs.Programs()("double", lambda x: 2 * x, np.float32(3)) == 6
        assert options.pop() == expected


def test_an_accelerator_has_none(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert programs.default_options() == {}


def test_others_may_read_programs_that_nobody_had_to_wait_for(monkeypatch):
    shared, made, x = [], programs.Programs(), np.float32(3)
    monkeypatch.setattr(programs, "share_programs", lambda: shared.append(made.count))
    wait([made.start(name, lambda x: 2 * x, x) for name in ("first", "second")])
    for name in ("first", "second", "first", "third", "third"):
        made(name, lambda x: 2 * x, x)
    assert shared == [2, 3]
