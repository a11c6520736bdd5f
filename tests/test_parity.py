"""Runs of the authors' PyTorch code, number for number, at the tolerances that their README advises."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from parity import LOGITS, LOSSES, STATES, close, images, load, under, vit
from torch_names import hypernetwork_leaves, vit_leaves

from fedtp_jax import config, engine
from fedtp_jax.data.federated import Dataset, Examples, Partition, Shards
from fedtp_jax.methods import Task, make_method
from fedtp_jax.rounds import Simulator
from fedtp_jax.schedule import Batches

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


class Fixture:
    """One federated run of the authors' code and a Simulator of ours fed with the same inputs."""

    def __init__(self, name, devices=1, **engine_options):
        self.npz, self.c = load(name)
        c = self.c
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
