"""Attention as one kernel: what is around cuDNN's, beside the plain form; and where a run has it."""

import functools
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_models import example, some_variables

from fedtp_jax import UserError, config
from fedtp_jax.models import attention, fused_attention, make_model
from fedtp_jax.simulation.attention_form import is_fused, why_not_fused

LANES, B, A, F = 3, 2, 2, 8


@pytest.fixture
def anywhere(monkeypatch):
    """The kernel by operations that any device has; how often it was asked for."""
    asked = []

    def by_xla(*heads):
        asked.append(heads[0].shape)
        return fused_attention.fused_attend(*heads, implementation="xla")

    monkeypatch.setattr(attention, "fused_attend", by_xla)
    return asked


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [5, 6])
def test_it_is_the_plain_form(anywhere, length, causal):
    rng = np.random.default_rng(length)
    heads = [rng.normal(size=(LANES, B, length, A, F)).astype(np.float32) for _ in range(3)]

    @functools.partial(jax.jit, static_argnums=0)
    def values_and_gradients(fused, *heads):
        attend = jax.vmap(lambda q, k, v: attention.attend(q, k, v, causal, fused=fused))
        values, back = jax.vjp(attend, *heads)
        return values, back(jax.tree.map(lambda y: jnp.cos(7 * y), values))

    found = [values_and_gradients(fused, *heads) for fused in (False, True)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6), *found)
    assert anywhere == [(B, length, A, F)]


def test_weights_that_drop_out_have_the_plain_form(anywhere):
    x, factors = jnp.ones((B, 5, A, F)), jnp.ones((B, A, 5, 5))
    attention.attend(x, x, x, False, factors, fused=True)
    assert not anywhere


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (config.Vit(patch_size=8, dim=8, depth=2, heads=2, dim_head=8, mlp_dim=8), "vit"),
        (config.Transformer(dim=8, depth=2, heads=2, dim_head=8, mlp_dim=8), "transformer"),
    ],
)
def test_models_have_it(anywhere, settings, name):
    x = example(name)
    plain, fused = (
        make_model(settings, x.shape[1:], 20, name == "transformer", fused=fused) for fused in (False, True)
    )
    variables = some_variables(plain, x)
    found = [
        jax.jit(functools.partial(model.apply, mutable=["intermediates"]))(variables, x)
        for model in (plain, fused)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *found)
    assert len(anywhere) == settings.depth


def mesh_of(**facts):
    device = types.SimpleNamespace(**facts)
    return types.SimpleNamespace(devices=np.array([device], object))


H200 = mesh_of(device_kind="NVIDIA H200", compute_capability="9.0")
NO_GPU = r"the devices \(.*\) are no NVIDIA GPUs of compute capability 8.0 or higher"


def run_of(attention="auto", precision="bfloat16", model=config.Vit()):  # noqa: B008
    engine = config.Engine(precision=precision, attention=attention)
    return config.SimulationConfig(model=model, engine=engine)


def test_auto_is_fused_where_it_can_be():
    assert is_fused(run_of(), H200)
    assert is_fused(run_of("fused"), H200)
    assert not is_fused(run_of("xla"), H200)
    assert not is_fused(run_of(precision="float32"), H200)


@pytest.mark.parametrize(
    ("run", "mesh", "message"),
    [
        ({}, mesh_of(device_kind="cpu"), NO_GPU),
        ({}, mesh_of(device_kind="Tesla V100", compute_capability="7.0"), NO_GPU),
        ({}, mesh_of(device_kind="AMD Instinct MI300X", compute_capability="gfx942"), NO_GPU),
        ({"precision": "float32"}, H200, "engine.precision is float32, and cuDNN's kernel takes bfloat16"),
        (
            {"model": config.Vit(dim_head=12)},
            H200,
            "model.dim_head is 12, .* takes multiples of 8 that are at most 128",
        ),
        ({"model": config.Vit(dim_head=256)}, H200, "model.dim_head is 256"),
        (
            {"model": config.Cnn()},
            H200,
            "the model is cnn, and only vit's and transformer's attention can be",
        ),
    ],
)
def test_where_it_cannot_be(run, mesh, message):
    assert not is_fused(run_of(**run), mesh)
    why = why_not_fused(run_of(**run), mesh)
    assert re.search(message, why)
    told = re.escape(f"engine.attention: got 'fused', but {why}; change that, or use auto")
    with pytest.raises(UserError, match=told):
        is_fused(run_of("fused", **run), mesh)
