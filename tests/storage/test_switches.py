"""JAX's global switches: noted with a run, named where they differ, and none of them a traceback."""

import json

import jax
import pytest
from tiny_run import TINY, Stopped, stop_after

from fedtp_jax import Result, UserError, simulate


@pytest.fixture
def switch():
    """Sets a switch of JAX until the test's end."""
    before = {}

    def to(name, value):
        before.setdefault(name, getattr(jax.config, name))
        jax.config.update(name, value)

    yield to
    for name, value in before.items():
        jax.config.update(name, value)


def test_a_healthy_run_is_not_called_damaged(switch, whole):
    switch("jax_enable_x64", True)
    told = r"was run with jax_enable_x64=False, but here it is True; set it back, by jax.config.update"
    with pytest.raises(UserError, match=told):
        Result.load(whole[1])
    switch("jax_enable_x64", False)
    switch("jax_default_prng_impl", "rbg")
    with pytest.raises(
        UserError, match="was run with jax_default_prng_impl=threefry2x32, but here it is rbg"
    ):
        Result.load(whole[1])


def test_what_changes_the_last_bits_is_named(switch, tmp_path):
    with pytest.raises(Stopped):
        simulate(TINY, out=tmp_path / "run", on_round=stop_after(3))
    switch("jax_default_matmul_precision", "float32")
    with pytest.warns(UserWarning, match="jax_default_matmul_precision highest there, float32 here"):
        simulate(TINY, out=tmp_path / "run", resume=True)


@pytest.mark.alone
def test_what_a_user_forbids_in_their_own_code(switch):
    switch("jax_numpy_rank_promotion", "raise")
    assert len(simulate(TINY, training={"rounds": 1}, partition={"clients": 5}).history) == 1
    switch("jax_disable_jit", True)
    with pytest.raises(UserError, match="jax_disable_jit: is set, but a simulation is compiled programs"):
        simulate(TINY)


def test_switches_are_noted(whole):
    from fedtp_jax.storage.checkpoints import Checkpoints

    checkpoints = Checkpoints(whole[1] / "checkpoints", 2, read_only=True)
    noted = checkpoints.newest_meta()["switches"]
    checkpoints.close()
    assert noted["jax_enable_x64"] is False
    assert json.dumps(noted)
