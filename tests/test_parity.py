"""The authors' PyTorch code, number for number, at the tolerances that its fixtures' README advises."""

import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from torch_names import hypernetwork_leaves, vit_leaves

from fedtp_jax import config, engine, tree
from fedtp_jax.data.federated import Dataset, Examples, Partition, Shards
from fedtp_jax.methods import Task, make_method
from fedtp_jax.methods.base import cross_entropy
from fedtp_jax.models.hypernetwork import Hypernetwork
from fedtp_jax.models.vit import Vit
from fedtp_jax.rounds import Simulator
from fedtp_jax.schedule import Batches

FIXTURES = Path(__file__).parent / "data" / "parity"
STATES, LOGITS, LOSSES = 1e-5, 1e-4, 1e-4

RUNS = {
    "fedavg_vit": lambda c: config.FedAvg(),
    "fedprox_vit": lambda c: config.FedProx(mu=c["mu"]),
    "local_training_vit": lambda c: config.Local(),
    "fedper_vit": lambda c: config.FedPer(),
    "personalized_t_vit": lambda c: config.Vanilla(),
    "fedtp_vit": lambda c: config.FedTP(hypernetwork=_hypernetwork(c["hypernetwork"])),
}


def _hypernetwork(c):
    return config.Hypernetwork(
        c["embed"], c["hidden"], c["n_hidden"], c["lr"], c["momentum"], c["weight_decay"]
    )


def under(fixture, prefix):
    return {name[len(prefix) :]: fixture[name] for name in fixture.files if name.startswith(prefix)}


def close(actual, expected, atol):
    assert set(actual) == set(expected)
    for path, leaf in expected.items():
        np.testing.assert_allclose(np.asarray(actual[path]), leaf, rtol=0, atol=atol, err_msg=path)


def vit(sizes):
    return Vit(
        num_classes=sizes.get("num_classes", 10),
        patch_size=sizes["patch_size"],
        dim=sizes["dim"],
        depth=sizes["depth"],
        heads=sizes["heads"],
        dim_head=sizes["dim_head"],
        mlp_dim=sizes["mlp_dim"],
        dropout=0.0,
    )


def images(x):
    return np.ascontiguousarray(np.asarray(x).transpose(0, 2, 3, 1))


class Fixture:
    """One federated run of the authors' code and a Simulator of ours fed with the same inputs."""

    def __init__(self, name, devices=1, **engine_options):
        self.npz = np.load(FIXTURES / f"{name}.npz")
        self.c = c = json.loads(str(self.npz["config"]))
        self.cohorts = self.npz["cohort"]
        n, sizes = c["clients"], c["sizes"]
        train, self.train_shards = self._split("train", n)
        test, test_shards = self._split("test", n)
        data = Dataset(name, train, test, num_classes=10)
        training = config.Training(
            rounds=c["rounds"],
            cohort_size=self.cohorts.shape[1],
            local_epochs=c["epochs"],
            batch_size=c["batch_size"],
            learning_rate=c["lr"],
            momentum=c["momentum"],
            weight_decay=c["weight_decay"],
        )
        settings = config.SimulationConfig(training=training, engine=config.Engine(**engine_options))
        model = vit(sizes)
        task = Task(model, data.input_shape, n, training)
        self.method = make_method(RUNS[name](c), task)
        self.partition = Partition(self.train_shards, test_shards)
        self.simulator = Simulator(settings, self.method, data, self.partition, engine.make_mesh(devices))

    def _split(self, split, n):
        x = [images(self.npz[f"data/{k}/{split}/x"]) for k in range(n)]
        y = np.concatenate([self.npz[f"data/{k}/{split}/y"] for k in range(n)])
        ends = np.cumsum([0] + [len(part) for part in x])
        shards = Shards.from_lists([np.arange(a, b) for a, b in itertools.pairwise(ends)])
        return Examples(np.concatenate(x), y.astype(np.int32)), shards

    def init(self):
        state = self.simulator.init()
        leaves = vit_leaves(under(self.npz, "init/global/"))
        rows = [
            {**leaves, **vit_leaves(under(self.npz, f"init/personal/{k}/"))} for k in range(self.c["clients"])
        ]
        phi = hypernetwork_leaves(under(self.npz, "init/hyper/"), self.c["sizes"]["dim"])
        assert set(phi) == set(state.generator)
        state = state._replace(
            shared={p: leaves[p] for p in state.shared},
            personal={p: np.stack([row[p] for row in rows]) for p in state.personal},
            generator=phi,
        )
        return self.simulator.place(state)

    def batches(self, round, k):
        order = self.npz[f"batch/order/{k}"][round]
        bounds = self.npz[f"batch/bounds/{k}"]
        width, shard = self.simulator.layout.batch, self.train_shards[k]
        parts = [shard[epoch[a:b]] for epoch in order for a, b in itertools.pairwise(bounds)]
        index = np.stack([np.pad(part, (0, width - len(part))) for part in parts]).astype(np.int32)
        return Batches(index, np.array([len(part) for part in parts], np.int32))


LAYOUTS = [pytest.param(name, {}, id=name) for name in RUNS] + [
    pytest.param("fedtp_vit", {"devices": 2}, id="fedtp_vit-2-devices"),
    pytest.param("fedtp_vit", {"lanes": 2}, id="fedtp_vit-2-lanes"),
    pytest.param("fedtp_vit", {"wave_size": 2}, id="fedtp_vit-2-waves"),
    pytest.param("personalized_t_vit", {"devices": 2, "wave_size": 2}, id="personalized_t_vit-waves"),
]


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
def test_parity_run(name, layout):
    run = Fixture(name, **layout)
    npz, n = run.npz, run.c["clients"]
    expected_shared = vit_leaves(under(npz, "expect/global/"))
    expected_personal = vit_leaves(under(npz, "expect/personal/"))
    expected_phi = hypernetwork_leaves(under(npz, "expect/hyper/"), run.c["sizes"]["dim"])
    state = run.init()
    for round, cohort in enumerate(run.cohorts):
        prepared = run.simulator.prepare_batches(cohort, [run.batches(round, k) for k in cohort])
        state, result = run.simulator.round(state, round, prepared)
        close(state.shared, {p: expected_shared[p][round] for p in state.shared}, STATES)
        close(state.personal, {p: expected_personal[p][round] for p in state.personal}, STATES)
        close(state.generator, {p: leaf[round] for p, leaf in expected_phi.items()}, STATES)
        losses = [npz[f"expect/train_loss/{round}/{k}"] for k in cohort]
        counts = [run.batches(round, k).valid for k in cohort]
        mean = np.average(np.concatenate(losses), weights=np.concatenate(counts))
        np.testing.assert_allclose(result.train_loss, mean, atol=LOSSES, rtol=0)

        shared, rows = run.method.variables(state, jnp.arange(n))
        for k in range(n):
            own = {p: leaf[k] for p, leaf in rows.items()}
            logits = run.method.predict({**shared, **own}, images(npz[f"data/{k}/test/x"]))
            np.testing.assert_allclose(logits, npz[f"expect/test_logits/{k}"][round], atol=LOGITS, rtol=0)
        sums = run.simulator.evaluate(state)
        np.testing.assert_array_equal(sums.correct, npz["expect/test_correct"][round])
        pooled = sums.correct.sum() / sums.examples.sum()
        np.testing.assert_allclose(pooled, npz["expect/test_avg_acc"][round], atol=1e-6, rtol=0)


def test_parity_weights():
    run = Fixture("fedavg_vit")
    for round, cohort in enumerate(run.cohorts):
        wave = run.simulator.prepare_batches(cohort, [run.batches(round, k) for k in cohort]).waves[0]
        weight = dict(zip(np.asarray(wave.ids).tolist(), np.asarray(wave.weights).tolist(), strict=True))
        np.testing.assert_allclose([weight[k] for k in cohort], run.npz["expect/p"][round], atol=1e-6, rtol=0)


@pytest.mark.parametrize("case", ["vit", "vit_one_head", "vit_scaled"])
def test_parity_vit_forward(case):
    npz = np.load(FIXTURES / "models_forward.npz")
    c = json.loads(str(npz["config"]))
    base = c[case].get("weights_of", case)
    weights = under(npz, f"{base}/weights/")
    for name in c[case].get("divided_by_128", []):
        weights[name] = weights[name] / 128
    variables = tree.unflatten({p: jnp.asarray(v) for p, v in vit_leaves(weights).items()})
    model = vit(c[base])
    logits, extra = model.apply(variables, images(npz["image/x"]), mutable=["intermediates"])
    np.testing.assert_allclose(logits, npz[f"{case}/logits"], atol=LOGITS, rtol=0)
    features = extra["intermediates"]["features"][0]
    np.testing.assert_allclose(features, npz[f"{case}/features"], atol=LOGITS, rtol=0)


@pytest.mark.parametrize("case", ["vit", "vit_one_head"])
def test_parity_vit_gradient(case):
    npz = np.load(FIXTURES / "models_forward.npz")
    model = vit(json.loads(str(npz["config"]))[case])
    leaves = {p: jnp.asarray(v) for p, v in vit_leaves(under(npz, f"{case}/weights/")).items()}
    x, y = images(npz["image/x"]), npz["image/y"].astype(np.int32)
    batch = engine.Batch(jnp.asarray(x), jnp.asarray(y), jnp.ones(len(y)))

    def loss(leaves):
        return cross_entropy(model.apply(tree.unflatten(leaves), batch.x, train=True), batch)

    value, gradient = jax.value_and_grad(loss)(leaves)
    np.testing.assert_allclose(value, npz[f"{case}/loss"], atol=LOSSES, rtol=0)
    close(gradient, vit_leaves(under(npz, f"{case}/grad/")), STATES)


def test_parity_hypernetwork():
    npz = np.load(FIXTURES / "hypernets_forward.npz")
    c = json.loads(str(npz["config"]))["vit_hyper"]
    index, p = jnp.asarray(c["index"]), np.asarray(c["p"], np.float32)
    phi = hypernetwork_leaves(under(npz, "vit_hyper/weights/"), c["dim"])
    outs = [vit_leaves(under(npz, f"vit_hyper/out/{i}/")) for i in range(len(p))]
    shapes = {path: leaf.shape for path, leaf in outs[0].items()}
    module = Hypernetwork(shapes, phi["params/embedding"].shape[0], c["embed"], c["hidden"], c["n_hidden"])
    generated, vjp = jax.vjp(
        lambda phi: module.apply(tree.unflatten(phi), index), {k: jnp.asarray(v) for k, v in phi.items()}
    )
    for i, out in enumerate(outs):
        close({path: leaf[i] for path, leaf in generated.items()}, out, STATES)
    deltas = [vit_leaves(under(npz, f"vit_hyper/delta/{i}/")) for i in range(len(p))]
    cotangent = {path: np.stack([w * d[path] for w, d in zip(p, deltas, strict=True)]) for path in shapes}
    close(vjp(cotangent)[0], hypernetwork_leaves(under(npz, "vit_hyper/grad/"), c["dim"]), STATES)


@pytest.mark.parametrize(("classes", "count"), [(10, "vit_depth6_c10"), (100, "vit_depth6_c100")])
def test_parity_parameter_counts(classes, count):
    expected = json.loads(str(np.load(FIXTURES / "models_forward.npz")["config"]))[
        "parameter_counts_full_size"
    ]
    task = Task(Vit(classes), (32, 32, 3), 50, config.Training())
    method = make_method(config.FedTP(), task)
    state = jax.eval_shape(method.init, jax.random.key(0))
    rows = jax.eval_shape(method.send, state, jax.ShapeDtypeStruct((1,), jnp.int32))[1]
    model = sum(leaf.size for leaf in jax.tree.leaves((state.shared, rows)))
    assert model == expected[count]
    assert sum(leaf.size for leaf in jax.tree.leaves(state.generator)) == expected["vit_hyper_n50_depth6"]
