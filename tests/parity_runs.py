"""The authors' runs in tests/fixtures/parity, and the simulators that repeat them."""

import itertools

import jax
import numpy as np
from parity import STATES, close, cnn, images, load, lstm, transformer, under, vit
from torch_names import TABLE, hypernetwork_leaves, sampled, torch_state

from fedtp_jax import config
from fedtp_jax.core.tree import rows_like
from fedtp_jax.data.dataset import Dataset, Examples, Windows
from fedtp_jax.engine import population
from fedtp_jax.engine.mesh import make_mesh
from fedtp_jax.engine.schedule import Batches
from fedtp_jax.export.torch_names import cnn_leaves, lstm_leaves, transformer_leaves, vit_leaves
from fedtp_jax.learning.method import EMBEDDING, own
from fedtp_jax.learning.task import Task
from fedtp_jax.methods import make_method
from fedtp_jax.methods.fedproto import CLIENTS, PROTOTYPES
from fedtp_jax.methods.fedrod import BIAS, KERNEL
from fedtp_jax.models.inputs import Inputs
from fedtp_jax.partitions.partition import Partition, Shards
from fedtp_jax.simulation.rounds import Simulator

RUNS = {
    "fedavg_vit": lambda c: config.FedAvg(),
    "fedprox_vit": lambda c: config.FedProx(mu=c["mu"]),
    "local_training_vit": lambda c: config.Local(),
    "fedper_vit": lambda c: config.FedPer(),
    "personalized_t_vit": lambda c: config.Vanilla(),
    "fedtp_vit": lambda c: config.FedTP(hypernetwork=hypernetwork(c)),
    "fedtp_per_vit": lambda c: config.FedTPPer(hypernetwork=hypernetwork(c)),
    "fedtp_rod_vit": lambda c: config.FedTPRod(hypernetwork=hypernetwork(c)),
    "fedrod_vit": lambda c: config.FedRod(),
    "fedproto_vit": lambda c: config.FedProto(weight=c["proto_weight"]),
    "pfedme_vit": lambda c: config.PFedMe(inner_steps=c["inner_steps"], penalty=c["lam"]),
    "pfedhn_cnn": lambda c: config.PFedHN(hypernetwork=hypernetwork(c)),
    "fedbn_cnnb": lambda c: config.FedBN(statistics="aggregate"),
    "fedtp_transformer": lambda c: config.FedTP(hypernetwork=hypernetwork(c)),
    "fedavg_transformer": lambda c: config.FedAvg(),
    "fedavg_lstm": lambda c: config.FedAvg(),
}
MODELS = {
    "vit": (vit, vit_leaves),
    "cnn": (cnn, cnn_leaves),
    "cnn-b": (lambda sizes: cnn(sizes, batch_norm=True), cnn_leaves),
    "transformer": (transformer, transformer_leaves),
    "lstm": (lstm, lstm_leaves),
}


def hypernetwork(c):
    c = c["hypernetwork"]
    optimizer = config.Optimizer("sgd", {"momentum": c["momentum"]})
    return config.Hypernetwork(
        embedding=c["embed"],
        hidden=c["hidden"],
        layers=c["n_hidden"],
        learning_rate=c["lr"],
        weight_decay=c["weight_decay"],
        optimizer=optimizer,
    )


def personal_leaves(convert, state):
    """Leaves of a client's own part: pieces of the model, or FedRod's head beside it."""
    if set(state) == {"weight", "bias"}:
        return {KERNEL: state["weight"].swapaxes(-1, -2), BIAS: state["bias"]}
    return convert(state)


class Fixture:
    """One federated run of the authors' code and a Simulator of ours fed with the same inputs."""

    def __init__(self, name, devices=1, method=None, evaluation=None, compat="reference", **engine_options):
        self.npz, self.c = load(name)
        c, npz = self.c, self.npz
        self.n, self.cohorts = c["clients"], npz.get("cohort", np.zeros((1, 3), int))
        build, self.convert = MODELS[c["model"]]
        self.text = c["model"] in ("transformer", "lstm")
        train, train_shards = self.split("train")
        test, test_shards = self.split("test")
        classes = c["sizes"].get("vocabulary", c["classes"])
        weights = tuple(npz["class_weights"].tolist()) if self.text else None
        data = Dataset(name, train, test, classes, class_weights=weights)
        training = config.Training(
            rounds=c["rounds"],
            cohort_size=self.cohorts.shape[1],
            local_epochs=c["epochs"],
            batch_size=c["batch_size"],
            learning_rate=c["lr"],
            weight_decay=c["weight_decay"],
            optimizer=config.Optimizer("sgd", {"momentum": c["momentum"]}),
        )
        ids = classes if self.text else 0
        inputs = Inputs(data.kind, data.input_shape, ids)
        self.model = build(c["sizes"])
        task = Task(self.model, inputs, classes, self.n, training, class_weights=weights)
        self.method = make_method(method or RUNS[name](c), task)
        settings = config.SimulationConfig(
            compat=compat,
            training=training,
            evaluation=evaluation or config.Evaluation(),
            engine=config.Engine(**engine_options),
        )
        self.shards = train_shards
        partition = Partition(train_shards, test_shards)
        self.simulator = Simulator(settings, task, self.method, data, partition, make_mesh(devices))

    def inputs(self, split, k):
        x = self.npz[f"data/{k}/{split}/x"]
        return x if self.text else images(x, self.c["upsample"])

    def split(self, split):
        """Examples and their owners; text as its characters, of which the fixture's x are the windows."""
        x = [self.inputs(split, k) for k in range(self.n)]
        ends = np.cumsum([0] + [len(part) for part in x])
        shards = Shards.from_lists([np.arange(a, b) for a, b in itertools.pairwise(ends)])
        if not self.text:
            y = np.concatenate([self.npz[f"data/{k}/{split}/y"] for k in range(self.n)])
            return Examples(np.concatenate(x), y.astype(np.int32)), shards
        texts = [self.npz[f"data/{k}/{split}/text"] for k in range(self.n)]
        firsts = np.cumsum([0] + [len(text) for text in texts])
        start = np.concatenate([first + np.arange(len(part)) for first, part in zip(firsts, x, strict=False)])
        return Windows(np.concatenate(texts), start.astype(np.int32), self.c["chunk_len"]), shards

    def init(self):
        """The state before the first round: the authors' leaves, fresh optimizers."""
        npz, initial = self.npz, self.simulator.initial
        state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), initial.server)
        state = state._replace(rows=initial.population())
        nothing = rows_like(initial.row, self.n)
        state.rows.put(np.arange(self.n), {p: np.zeros(row.shape, row.dtype) for p, row in nothing.items()})
        common = self.convert(under(npz, "init/global/"))
        rows = [
            {**common, **personal_leaves(self.convert, under(npz, f"init/personal/{k}/"))}
            for k in range(self.n)
        ]
        phi = hypernetwork_leaves(under(npz, "init/hyper/"), self.token_width)
        table = phi.pop(TABLE, None)
        assert set(phi) == set(state.generator)
        shared = {p: common.get(p, leaf) for p, leaf in state.shared.items()}  # FedProto: no prototypes yet
        personal = {p: np.stack([row[p] for row in rows]) for p in self.rows(state) if p in self.method.roles}
        state.rows.trained[:] = 1  # the fixture's clients begin with models of their own
        state.rows.put(np.arange(self.n), personal if table is None else {**personal, EMBEDDING: table})
        return self.simulator.place(state._replace(shared=shared, generator=phi))

    def rows(self, state):
        """What every client owns, {path: [N, ...]}."""
        return own(state.rows.take(np.arange(self.n)))

    @property
    def token_width(self):
        return self.c["sizes"].get("dim", self.c["sizes"].get("d_model"))

    def batches(self, round, k):
        order = self.npz[f"batch/order/{k}"][round]
        bounds = self.npz[f"batch/bounds/{k}"]
        width, shard = self.simulator.layout.batch, self.shards[k]
        parts = [shard[epoch[a:b]] for epoch in order for a, b in itertools.pairwise(bounds)]
        index = np.stack([np.pad(part, (0, width - len(part))) for part in parts]).astype(np.int32)
        valid = np.array([len(part) for part in parts], np.int32)
        return Batches(index, valid, len(valid) - (len(bounds) - 1))

    def waves(self, cohort, batches):
        """The round's waves, of as many clients as the engine takes at once."""
        sim = self.simulator
        size = sim.bench.wave_size(len(cohort), sim.row_bytes)
        for first in range(0, len(cohort), size):
            part = slice(first, first + size)
            yield sim.prepare_wave(cohort[part], batches[part], cohort)

    def check_state(self, state, round):
        """Every leaf that the fixture tells of, in PyTorch's layout where it holds only some rows."""
        shared = {p: leaf for p, leaf in state.shared.items() if not p.startswith("prototypes/")}
        self._check(shared, "global", round, 0)
        personal = self.rows(state)
        table = {TABLE: personal.pop(EMBEDDING)} if EMBEDDING in personal else {}
        if KERNEL in personal:
            expected = under(self.npz, "expect/personal/")
            np.testing.assert_allclose(
                personal.pop(KERNEL), expected["weight"][round].swapaxes(-1, -2), rtol=0, atol=STATES
            )
            np.testing.assert_allclose(personal.pop(BIAS), expected["bias"][round], rtol=0, atol=STATES)
        else:
            self._check(personal, "personal", round, 1)
        self._check({**state.generator, **table}, "hyper", round, 0)
        if PROTOTYPES in state.shared:
            known = np.asarray(state.shared[CLIENTS]) > 0
            protos = np.where(known[:, None], state.shared[PROTOTYPES], np.nan)
            np.testing.assert_allclose(protos, self.npz["expect/protos"][round], rtol=0, atol=STATES)

    def _check(self, leaves, part, round, lead):
        expected = {name: value[round] for name, value in under(self.npz, f"expect/{part}/").items()}
        leaves = population.kept(leaves)
        if not leaves:
            return
        assert expected

        def convert(state):
            return hypernetwork_leaves(state, self.token_width) if part == "hyper" else self.convert(state)

        first = "init/hyper/" if part == "hyper" else "init/global/"
        shapes = {name: value.shape for name, value in under(self.npz, first).items()}
        if not shapes:  # every client has a whole model of its own
            shapes = {name: value.shape for name, value in under(self.npz, "init/personal/0/").items()}
        actual = torch_state(leaves, convert, shapes)
        whole = {name.split("[")[0] for name in expected}
        covered = set(convert({name: np.zeros(shapes[name]) for name in whole}))
        assert set(leaves) <= covered, set(leaves) - covered
        kept = {name: value for name, value in expected.items() if name.split("[")[0] in actual}
        close(sampled(actual, kept, lead), kept, STATES)
