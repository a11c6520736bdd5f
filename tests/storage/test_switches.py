"""JAX's global switches: noted with a run, named where they differ, and none of them a traceback."""

import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_run import TINY, Stopped, same_files, same_state, stop_after

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


def test_a_run_is_the_same_whether_or_not_the_user_computes_in_64_bits(switch, tmp_path, whole):
    switch("jax_enable_x64", True)
    loaded, x = Result.load(whole[1]), np.zeros((2, 8, 8, 1), np.uint8)
    same_state(loaded.state, whole[0].state)
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded.variables(0))} == {np.dtype(np.float32)}
    assert loaded.predict(0, x).dtype == np.float32
    heard = []

    def on_round(progress):
        heard.append(jnp.asarray(np.float64(1)).dtype)  # the user's own code has what the user chose

    again = simulate(TINY, out=tmp_path / "run", on_round=on_round)
    same_files(tmp_path / "run", whole[1])
    same_state(again.state, whole[0].state)
    assert set(heard) == {np.dtype(np.float64)}
    assert jax.config.jax_enable_x64


def test_a_healthy_run_is_not_called_damaged(switch, whole):
    switch("jax_default_prng_impl", "rbg")
    told = r"was run with jax_default_prng_impl=threefry2x32, but here it is rbg; set it back, by jax\.config"
    with pytest.raises(UserError, match=told):
        Result.load(whole[1])


def test_what_changes_the_last_bits_is_named(switch, tmp_path, monkeypatch):
    with pytest.raises(Stopped):
        simulate(TINY, out=tmp_path / "run", on_round=stop_after(3))
    switch("jax_default_matmul_precision", "float32")
    flag = "--xla_gpu_deterministic_ops=true"
    monkeypatch.setenv("XLA_FLAGS", f"{os.environ.get('XLA_FLAGS', '')} {flag}")
    told = rf"jax_default_matmul_precision highest there, float32 here; XLA_FLAGS .*there, .*{flag} here"
    with pytest.warns(UserWarning, match=told):
        simulate(TINY, out=tmp_path / "run", resume=True)


@pytest.mark.alone
def test_what_a_user_forbids_in_their_own_code(switch):
    switch("jax_numpy_rank_promotion", "raise")
    result = simulate(TINY, training={"rounds": 1}, partition={"clients": 5})
    assert result.predict(0, np.zeros((2, 8, 8, 1), np.uint8)).shape == (2, 10)
    switch("jax_disable_jit", True)
    with pytest.raises(UserError, match="jax_disable_jit: is set, but a simulation is compiled programs"):
        simulate(TINY)


def test_switches_are_noted(whole):
    from fedtp_jax.storage.checkpoints import Checkpoints

    checkpoints = Checkpoints(whole[1] / "checkpoints", 2, read_only=True)
    noted = checkpoints.newest_meta()["switches"]
    checkpoints.close()
    assert noted["jax_default_prng_impl"] == "threefry2x32"
    assert json.dumps(noted)
