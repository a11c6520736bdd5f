"""The authors' PyTorch models and hypernetworks, number for number: logits, losses, gradients, sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from parity import LOGITS, LOSSES, STATES, close, cnn, images, load, lstm, transformer, under, vit
from torch_names import TABLE, hypernetwork_leaves, sampled, torch_state

from fedtp_jax import config
from fedtp_jax.core import tree
from fedtp_jax.export.torch_names import cnn_leaves, lstm_leaves, transformer_leaves, vit_leaves
from fedtp_jax.models import make_model
from fedtp_jax.models.hypernetwork import Hypernetwork
from fedtp_jax.models.inputs import Inputs
from fedtp_jax.models.text import position_table

MODELS = {
    "vit": (vit, vit_leaves),
    "vit_one_head": (vit, vit_leaves),
    "cnn": (cnn, cnn_leaves),
    "cnn_b": (lambda sizes: cnn(sizes, batch_norm=True), cnn_leaves),
    "transformer": (transformer, transformer_leaves),
    "lstm": (lstm, lstm_leaves),
}


class Case:
    """A model of the fixture with its weights, inputs and loss."""

    def __init__(self, name):
        self.npz, configs = load("models_forward")
        sizes = configs[name]
        base = sizes.get("weights_of", name)
        build, self.convert = MODELS[base]
        self.model = build(configs[base])
        self.weights = under(self.npz, f"{base}/weights/")
        self.shapes = {name: value.shape for name, value in self.weights.items()}
        for small in sizes.get("divided_by_128", []):
            self.weights[small] = self.weights[small] / 128
        self.leaves = {path: jnp.asarray(leaf) for path, leaf in self.convert(self.weights).items()}
        self.text = base in ("transformer", "lstm")
        if self.text:
            self.x, self.y = self.npz["char/x"], self.npz["char/y"]
        else:
            self.x, self.y = images(self.npz["image/x"], sizes.get("upsample", 1)), self.npz["image/y"]

    def forward(self, leaves, train=False):
        """The mean loss and (losses, logits, updated collections)."""
        variables, mutable = tree.unflatten(leaves), ["intermediates", "batch_stats"]
        logits, updated = self.model.apply(variables, jnp.asarray(self.x), train=train, mutable=mutable)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(self.y))
        losses = losses * self.npz["class_weights"][self.y] if self.text else losses.mean()
        return losses.mean(), (losses, logits, updated)

    def gradient(self, train=False):
        """`forward`'s extra results, and the gradient of the mean loss in PyTorch's layout."""
        parameters = {path: leaf for path, leaf in self.leaves.items() if path.startswith("params/")}

        @jax.jit
        def run(parameters):
            loss = lambda parameters: self.forward({**self.leaves, **parameters}, train)  # noqa: E731
            return jax.value_and_grad(loss, has_aux=True)(parameters)

        (_, extra), gradient = run(parameters)
        return extra, torch_state(gradient, self.convert, self.shapes)

    def check(self, extra, name):
        losses, logits, updated = extra
        expected = self.npz[f"{name}/logits"]
        expected = expected.swapaxes(1, 2) if self.text else expected
        np.testing.assert_allclose(logits, expected, atol=LOGITS, rtol=0)
        if f"{name}/loss" in self.npz:
            np.testing.assert_allclose(losses, self.npz[f"{name}/loss"], atol=LOSSES, rtol=0)
        if f"{name}/features" in self.npz:
            (features,) = updated["intermediates"]["features"]
            np.testing.assert_allclose(features, self.npz[f"{name}/features"], atol=LOGITS, rtol=0)

    def check_gradient(self, gradient, name):
        expected = under(self.npz, f"{name}/grad/")
        assert {name.split("[")[0] for name in expected} == set(gradient)
        close(sampled(gradient, expected), expected, STATES)


@pytest.mark.parametrize("name", ["vit_scaled", "cnn_b", "transformer_scaled"])
def test_parity_forward(name):
    case = Case(name)
    case.check(jax.jit(case.forward)(case.leaves)[1], name)


@pytest.mark.parametrize("name", ["vit", "vit_one_head", "cnn", "transformer", "lstm"])
def test_parity_forward_and_gradient(name):
    case = Case(name)
    extra, gradient = case.gradient()
    case.check(extra, name)
    case.check_gradient(gradient, name)


def test_parity_batch_norm_in_training():
    case, name = Case("cnn_b"), "cnn_b/train_mode"
    extra, gradient = case.gradient(train=True)
    case.check(extra, name)
    case.check_gradient(gradient, name)
    running = {k: v for k, v in under(case.npz, f"{name}/").items() if k.startswith("bn")}
    close(tree.flatten({"batch_stats": extra[2]["batch_stats"]}), cnn_leaves(running), STATES)


def test_parity_position_table():
    npz, _ = load("models_forward")
    np.testing.assert_allclose(
        position_table(200, 8), npz["transformer/pos_table_200x8"][0], atol=1e-6, rtol=0
    )
    table = npz["transformer/weights/encoder.position_enc.pos_table"][0]
    np.testing.assert_allclose(position_table(*table.shape), table, atol=1e-6, rtol=0)


HYPERNETWORKS = {"vit_hyper": vit_leaves, "shakes_hyper": transformer_leaves, "cnn_hyper": cnn_leaves}


@pytest.mark.parametrize("name", HYPERNETWORKS)
def test_parity_hypernetwork(name):
    npz, configs = load("hypernets_forward")
    c, convert = configs[name], HYPERNETWORKS[name]
    dim = c.get("dim", c.get("d_model"))
    weights = under(npz, f"{name}/weights/")
    phi = {path: jnp.asarray(leaf) for path, leaf in hypernetwork_leaves(weights, dim).items()}
    outs = [under(npz, f"{name}/out/{i}/") for i in range(len(c["p"]))]
    whole = {"fc1.weight": (120, 50), "fc2.weight": (84, 120)}  # sampled in the fixture
    torch_shapes = {n.split("[")[0]: value.shape for n, value in outs[0].items()}
    torch_shapes = {n: whole.get(n, shape) for n, shape in torch_shapes.items()}

    zeros = convert({n: np.zeros(shape, np.float32) for n, shape in torch_shapes.items()})
    shapes = {path: leaf.shape for path, leaf in zeros.items()}
    module = Hypernetwork(shapes, c["hidden"], c["n_hidden"])

    @jax.jit
    def apply(phi):
        rest = {path: leaf for path, leaf in phi.items() if path != TABLE}
        return module.apply(tree.unflatten(rest), phi[TABLE][jnp.asarray(c["index"])])

    generated, vjp = jax.vjp(apply, phi)
    state = torch_state(generated, convert, torch_shapes)
    for i, out in enumerate(outs):
        close(sampled({n: value[i] for n, value in state.items()}, out), out, STATES)

    cotangent = {path: np.zeros((len(outs), *shape), np.float32) for path, shape in shapes.items()}
    for i, p in enumerate(c["p"]):
        delta = under(npz, f"{name}/delta/{i}/") or _cnn_delta(i, torch_shapes)
        for path, leaf in convert(delta).items():
            cotangent[path][i] = p * leaf
    (gradient,) = vjp({path: jnp.asarray(leaf) for path, leaf in cotangent.items()})
    like = {n: value.shape for n, value in weights.items()}
    gradient = torch_state(gradient, lambda state: hypernetwork_leaves(state, dim), like)
    expected = under(npz, f"{name}/grad/")
    assert {n.split("[")[0] for n in expected} == set(gradient)
    close(sampled(gradient, expected), expected, STATES)


def _cnn_delta(i, shapes):
    """The formula that the fixtures' README gives for the CNN's cotangents."""
    return {
        n: ((np.arange(np.prod(shape)) % 7 - 3).reshape(shape) * (i + 1) / 16).astype(np.float32)
        for n, shape in shapes.items()
    }


IMAGE, WINDOW = (32, 32, 3), (10,)
SIZES = {
    "vit_depth6_c10": (config.Vit(), IMAGE, 10),
    "vit_depth6_c100": (config.Vit(), IMAGE, 100),
    "cnn_c10": (config.Cnn(), IMAGE, 10),
    "cnn_c100": (config.Cnn(), IMAGE, 100),
    "cnn_b_c10": (config.CnnBn(), IMAGE, 10),
    "cnn_b_c100": (config.CnnBn(), IMAGE, 100),
    "transformer_depth1": (config.Transformer(depth=1), WINDOW, 100),
    "transformer_depth2": (config.Transformer(), WINDOW, 100),
    "transformer_depth6": (config.Transformer(depth=6), WINDOW, 100),
    "lstm": (config.Lstm(), WINDOW, 100),
}
HYPERNETWORK_SIZES = {
    "vit_hyper_n50_depth6": ("vit_depth6_c10", 50, config.QKV),
    "vit_hyper_n100_depth6": ("vit_depth6_c10", 100, config.QKV),
    "shakes_hyper_n50_depth2": ("transformer_depth2", 50, config.QKV),
    "shakes_hyper_n100_depth2": ("transformer_depth2", 100, config.QKV),
    "cnn_hyper_n50_c10": ("cnn_c10", 50, (".",)),
    "cnn_hyper_n50_c100": ("cnn_c100", 50, (".",)),
}


def _parameters(name):
    settings, shape, classes = SIZES[name]
    inputs = Inputs("text", shape, classes) if len(shape) == 1 else Inputs("image", shape)
    model = make_model(settings, inputs, classes)
    variables = jax.eval_shape(model.init, jax.random.key(0), inputs.example)
    return tree.flatten({"params": variables["params"]})


def _count(leaves):
    return sum(leaf.size for leaf in jax.tree.leaves(leaves))


def test_parity_parameter_counts():
    expected = load("models_forward")[1]["parameter_counts_full_size"]
    counts = {name: _count(_parameters(name)) for name in SIZES}
    options = config.Hypernetwork()
    for name, (model, clients, generated) in HYPERNETWORK_SIZES.items():
        leaves = _parameters(model)
        roles = tree.assign_roles(list(leaves), [("generated", generated), ("shared", (".",))])
        shapes = {path: leaf.shape for path, leaf in tree.select(leaves, roles, "generated").items()}
        module = Hypernetwork(shapes, options.hidden, options.layers)
        embeddings = jax.ShapeDtypeStruct((clients, options.embedding), jnp.float32)
        counts[name] = embeddings.size + _count(jax.eval_shape(module.init, jax.random.key(0), embeddings))
    assert counts == expected
