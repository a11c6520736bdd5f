"""Attention as one kernel: what is around cuDNN's, beside the plain form; and where a run has it."""

import functools
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_models import some_variables

from fedtp_jax import UserError, config
from fedtp_jax.models import attention, fused_attention, make_model
from fedtp_jax.models.inputs import Inputs
from fedtp_jax.simulation.attention_form import is_fused, why_not_fused

LANES, B, A, F = 3, 2, 2, 8


@pytest.fixture
def anywhere(monkeypatch):
    """The kernel by operations that any device has; how often it was asked for."""
    asked = []

    def by_xla(query, *others):
        asked.append(query.shape)
        return fused_attention.fused_attend(query, *others, implementation="xla")

    monkeypatch.setattr(attention, "fused_attend", by_xla)
    return asked


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [5, 6])
def test_it_is_the_plain_form(anywhere, length, causal):
    """Whatever stands where the tokens end."""
    rng, room = np.random.default_rng(length), fused_attention.even(length)
    heads = [rng.normal(size=(LANES, B, room, A, F)).astype(np.float32) for _ in range(3)]

    @functools.partial(jax.jit, static_argnums=0)
    def values_and_gradients(fused, *heads):
        def attend(*heads):
            heads = heads if fused else [x[:, :length] for x in heads]
            mixed, weights = attention.attend(*heads, causal, fused=length if fused else None)
            return mixed[:, :length], weights

        values, back = jax.vjp(jax.vmap(attend), *heads)
        return values, back(jax.tree.map(lambda y: jnp.cos(7 * y), values))

    found = [values_and_gradients(fused, *heads) for fused in (False, True)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6), *found)
    assert anywhere == [(B, room, A, F)]


def cases(*lengths):
    """(settings, inputs) of models whose attention has so many tokens."""
    small = {"dim": 8, "depth": 1, "heads": 2, "dim_head": 8, "mlp_dim": 8}
    rng = np.random.default_rng(0)
    yield config.Vit(patch_size=8, dropout=0.1, **small), rng.normal(size=(B, 16, 16, 3)).astype(np.float32)
    for length in lengths:
        model = config.Transformer(dropout=0.0, **small, adapter=config.Adapter(3 if length % 2 else None))
        yield model, rng.integers(0, 20, (B, length), np.int32)


@pytest.mark.parametrize(("settings", "x"), [*cases(6, 7)])
def test_models_train_as_with_the_plain_form(anywhere, settings, x):
    is_text = isinstance(settings, config.Transformer)
    inputs = Inputs("text", x.shape[1:], 20) if is_text else Inputs("image", x.shape[1:])
    models = [make_model(settings, inputs, 20, fused=fused) for fused in (False, True)]
    variables = some_variables(models[0], x)

    @functools.partial(jax.jit, static_argnums=0)
    def loss_and_gradients(model, variables):
        def loss(variables):
            logits, sown = model.apply(
                variables, x, train=True, rngs={"dropout": jax.random.key(1)}, mutable=["intermediates"]
            )
            return jnp.sum(jnp.cos(logits)), sown

        return jax.value_and_grad(loss, has_aux=True)(variables)

    found = [loss_and_gradients(model, variables) for model in models]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *found)
    tokens = 5 if not is_text else x.shape[1]
    assert anywhere == [(B, fused_attention.even(tokens), 2, 8)] * settings.depth


def test_weights_that_drop_out_have_the_plain_form(anywhere):
    settings = config.Transformer(dim=8, depth=1, heads=2, dim_head=8, mlp_dim=8)
    model = make_model(settings, Inputs("text", (6,), 20), 20, fused=True)
    x = jnp.zeros((B, 6), jnp.int32)
    for train in (True, False):
        apply = functools.partial(model.apply, train=train, rngs={"dropout": jax.random.key(1)})
        jax.eval_shape(apply, some_variables(model, x), x)
        assert len(anywhere) == (0 if train else settings.depth)


def test_lengths_are_made_such_as_the_kernel_does_well():
    lengths = {5: 6, 6: 6, 62: 62, 63: 66, 64: 66, 65: 66, 128: 128, 192: 194}
    assert {length: fused_attention.even(length) for length in lengths} == lengths


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
