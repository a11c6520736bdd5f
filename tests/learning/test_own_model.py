"""A model of the user's own is held to what it owes before anything is trained, with one message each."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fedtp_jax import UserError, config, from_arrays, from_nnx, simulate
from fedtp_jax.learning.own_model import check_own_model
from fedtp_jax.learning.task import Task
from fedtp_jax.models.inputs import Inputs

X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
DATA = from_arrays(X, np.arange(40) % 3)
FEW = {
    "partition": {"name": "iid", "clients": 2},
    "method": "fedavg",
    "training": {"rounds": 1, "cohort_size": 2},
}


def own(call):
    """A model whose call is `call`."""
    return type("Mine", (nn.Module,), {"__call__": nn.compact(call)})()


def given(change):
    """A model that returns its logits, changed."""
    return own(lambda self, x: change(nn.Dense(3)(x)))


class NoTrain(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x)


class Needed(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.Dropout(0.1, deterministic=not train)(nn.Dense(3)(x))


class Nnx(nnx.Module):
    def __init__(self, rngs, outputs=3):
        self.head, self.dropout = nnx.Linear(6, outputs, rngs=rngs), nnx.Dropout(0.1, rngs=rngs)

    def __call__(self, x, *, train):
        return self.dropout(self.head(x), deterministic=not train)


class Deterministic(Nnx):
    def __call__(self, x, deterministic=True):
        return self.head(x)


def test_features_are_one_row_for_each_example():
    class Sown(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            self.sow("intermediates", "features", x[:1])
            return nn.Dense(3, name="head")(x)

    with pytest.raises(
        UserError, match=r"needs one feature vector per example, but the model gives \[1, 6\]"
    ):
        simulate(model=Sown(), data=DATA, **{**FEW, "method": "fedrod"})


@pytest.mark.parametrize(
    "model",
    [NoTrain(), Needed(), nn.Sequential([nn.Dense(4), nn.relu, nn.Dense(3)]), from_nnx(Nnx)],
    ids=["no train", "train without default", "sequential", "nnx"],
)
def test_a_model_may_take_train_or_not(model):
    result = simulate(model=model, data=DATA, **FEW)
    assert result.predict(0, X[:2]).shape == (2, 3)
    assert isinstance(result.intermediates(0, X[:2]), dict)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            own(lambda self, x: nn.Dense(2)(x)),
            r"Mine\(\) has 2 outputs, but the data has 3 classes; give it 3$",
        ),
        (own(lambda self, x: nn.Dense(5)(x)), r"has 5 outputs.* or, .*from_arrays\(\.\.\., num_classes=5\)"),
        (
            from_nnx(lambda rngs: Nnx(rngs, 4)),
            r"model: from_nnx\(.*<lambda>\) has 4 outputs, but .* 3 classes",
        ),
        (given(lambda z: z.argmax(-1)), r"returns int32 \[B\], expected logits \[B, 3\].*leave out \.argmax"),
        (given(lambda z: z > 0), r"returns bool \[B, 3\], expected logits \[B, 3\].*return floats"),
        (given(lambda z: z[:, None]), r"returns float32 \[B, 1, 3\], expected .*one row for each example"),
        (given(lambda z: z.sum(-1)), r"returns float32 \[B\], expected logits \[B, 3\]"),
        (given(lambda z: z.mean(0)), r"returns float32 \[3\], expected logits \[B, 3\]"),
        (given(lambda z: (z, z)), r"returns a tuple, expected logits \[B, 3\].*return the logits alone"),
        (given(lambda z: {"logits": z}), "returns a dict, expected logits"),
        (given(lambda z: None), "returns a NoneType, expected logits"),
        (given(lambda z: z.reshape(1, -1)), r"returns float32 \[1, 12\], expected logits \[B, 3\]"),
        (own(lambda self, x: nn.Dense(3)(x.reshape(1, -1))), r"fails in evaluation on a batch \[4, 6\]"),
        (own(lambda self, x: nn.Conv(3, (3, 3))(x[:, :, :, None])), r"when it is initialised .*\[B, 6\]$"),
        (
            own(lambda self, x: nn.Dropout(0.1, deterministic=False)(nn.Dense(3)(x))),
            "deterministic=not train",
        ),
        (own(lambda self, x: x[:, :3]), "has no parameters"),
        (own(lambda self, x: x @ self.param("w", lambda _: jnp.ones((6, 3), int))), "'params/w' .* is int32"),
        (own(lambda self, x: self.variable("memory", "m", lambda: x).value), "collections .'memory'."),
        (own(lambda self, x, train, y: x), "takes the argument 'y', which nobody gives"),
        (type("Empty", (nn.Module,), {})(), r"Empty\(\) has no __call__"),
        (
            own(lambda self, x, deterministic=True: x),
            "takes the argument 'deterministic', but .* is called 'train' here",
        ),
        (
            own(lambda self, x, training=False: x),
            "takes the argument 'training', but .* is called 'train' here",
        ),
        (NoTrain, r"model: got the class NoTrain; give an instance, NoTrain\(\)"),
        (Nnx, r"model: got the NNX class Nnx; give what makes one: fedtp_jax\.from_nnx\(lambda rngs: Nnx\("),
        (Nnx(nnx.Rngs(0)), r"model: got an NNX Nnx; give what makes one"),
        (
            from_nnx(Deterministic),
            "Deterministic takes the argument 'deterministic'.* is called 'train' here",
        ),
        (from_nnx(lambda rngs: 3), "made a int, expected an NNX module"),
        (from_nnx(lambda: Nnx(nnx.Rngs(0))), "fails when it is initialised .*TypeError"),
    ],
)
def test_what_a_model_owes_is_said_before_it_trains(model, message):
    with pytest.raises(UserError, match=message):
        simulate(model=model, data=DATA, **FEW)


def test_a_text_model_owes_logits_for_each_position():
    def check(change):
        model = own(lambda self, x: change(nn.Embed(20, 20)(x)))
        check_own_model(Task(model, Inputs("text", (12,), 20), 20, 2, config.Training()), "Mine")

    check(lambda z: z)
    with pytest.raises(
        UserError, match=r"float32 \[B, 20\], expected logits \[B, 12, 20\], .* for each position"
    ):
        check(lambda z: z.mean(1))
    with pytest.raises(UserError, match="has 19 outputs, but the data has 20 characters in its vocabulary"):
        check(lambda z: z[..., 1:])


def test_what_from_nnx_takes():
    with pytest.raises(UserError, match="make: got a Nnx that was made already, expected a function of rngs"):
        from_nnx(Nnx(nnx.Rngs(0)))
    with pytest.raises(UserError, match="make: got 3, expected a function of rngs"):
        from_nnx(3)
