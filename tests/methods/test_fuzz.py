"""Random combinations of everything against the plain loops.

A group shares what is compiled (method, model, optimizers, neighbours, layout) and draws all else anew for
each of its combinations: who holds what, cohorts, schedules, participation, clients without examples, one
whose numbers are not finite, held-out ones.
"""

import functools
import math

import numpy as np
import pytest
from marks import every_day
from oracle import World
from ragged_clients import ADAM, BASED, DESCRIBING, HYPER, LSTM, MOMENTUM, TRANSFORMER, VIT, WITH_ADAPTER
from test_oracle import METHODS, expected_leaves, mixed_dtypes

from fedtp_jax import config
from fedtp_jax.core import rng
from fedtp_jax.data.dataset import Dataset, Examples, Windows
from fedtp_jax.engine.mesh import make_mesh
from fedtp_jax.engine.schedule import sample_cohort
from fedtp_jax.learning.method import own
from fedtp_jax.partitions.partition import Partition, Shards
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.simulation.rounds import Simulator

GROUPS, EACH = 25, 6
ROUNDS, CLIENTS, CLASSES, TRAIN, TEST, BROKEN = 3, 8, 4, 64, 24, 4  # the last train examples are NaN
ON_TEXT = (
    *("fedavg", "fedprox", "local", "fedper", "vanilla", "fedtp", "pfedme", "pfedhn"),
    *("scaffold", "apfl", "perfedavg", "ditto", "fedrep", "fedala", "fedamp"),
)
GENERATING = ("fedtp", "fedtp_per", "fedtp_rod", "pfedhn")


def choose(random, *choices):
    return choices[random.integers(len(choices))]


class Group:
    """What a group's combinations have in common."""

    def __init__(self, number):
        random = np.random.default_rng([7, number])
        names = [
            *(name for name in config.METHODS if name != "fedbn")
        ]  # whose rounding batch norm multiplies
        self.name = names[number % len(names)]
        self.text = self.name in ON_TEXT and random.random() < 0.3
        model = choose(random, TRANSFORMER, LSTM) if self.text else VIT
        if self.text and self.name in ("vanilla", "fedtp"):
            model = TRANSFORMER
        options = {}
        if self.name in GENERATING:
            update = choose(random, "dense", "sparse")
            options["hypernetwork"] = dict(vars(HYPER), embedding_update=update, learning_rate=0.02)
        self.method = config.METHODS[self.name](**{k: config.Hypernetwork(**v) for k, v in options.items()})
        if self.name == "pefll":
            batches = choose(random, 1, 2, None)
            self.method = config.PeFLL(kernels=2, batches=batches, hypernetwork=DESCRIBING)
        if self.name == "fedtp_prior":
            self.method = config.FedTPPrior(smoothing=choose(random, 0.1, 1.0), hypernetwork=BASED)
        if self.name == "fedperfix":
            model = WITH_ADAPTER
        self.model, self.data = model, _data(self.text)
        self.knn = (
            config.Knn(0.5, int(random.integers(1, 5)), 0.7)
            if random.random() < 0.3 and not self.text
            else None
        )
        plain = self.name == "scaffold"  # takes no other optimizer
        adam = random.random() < 0.25 and not plain
        self.training = {
            "rounds": ROUNDS,
            "batch_size": int(random.integers(2, 6)),
            "local_epochs": int(random.integers(1, 3)),
            "local_steps": choose(random, None, None, 3),
            "learning_rate": 0.01 if adam else 0.04,
            "weight_decay": choose(random, 0.0, 1e-2),
            "clip_norm": choose(random, None, 0.5),
            "optimizer": ADAM if adam else choose(random, *[MOMENTUM] * (not plain), config.Optimizer("sgd")),
        }
        if self.name in ("fedrep", "fedpac"):  # which trains the head in other passes than the body
            self.training |= {"local_epochs": int(random.integers(2, 4)), "local_steps": None}
        alone = self.name in ("local", "fedproto", "pfedhn", "fedamp")
        self.server = config.Server(0.5, MOMENTUM) if random.random() < 0.3 and not alone else config.Server()
        self.devices = int(random.integers(1, 4))
        self.engine = config.Engine(
            lanes=int(random.integers(1, 4)), wave_size=choose(random, "auto", 2, 3), devices=self.devices
        )

    def combination(self, number):
        """(settings, partition) of one of the combinations; who has no examples, or broken ones, is drawn."""
        random = np.random.default_rng([11, number, *self.name.encode()])
        broken = None if self.text or self.knn or random.random() < 0.5 else int(random.integers(CLIENTS))
        partition = _partition(random, broken)
        can = int((partition.train.sizes > 0).sum())
        held_out = int(random.integers(2)) if can > 4 else 0
        schedule = choose(
            random, config.Constant(), config.Cosine(0.1), config.Exponential(0.7), config.Step(1, 0.5)
        )
        losing = broken is None and random.random() < 0.6
        participation = config.Participation(
            dropout=0.3 * losing, stragglers=choose(random, 0.0, 0.6), straggler_share=0.3, over_selection=1.3
        )
        training = config.Training(
            **self.training, cohort_size=3, schedule=schedule, held_out=held_out, participation=participation
        )
        evaluation = config.Evaluation(batch_size=5, **({"knn": self.knn} if self.knn else {}))
        return config.SimulationConfig(
            seed=int(random.integers(1000)),
            model=self.model,
            method=self.method,
            training=training,
            server=self.server,
            evaluation=evaluation,
            engine=self.engine,
        ), partition


@functools.cache
def _data(text):
    random = np.random.default_rng(0)

    def split(count):
        if text:
            codes = random.integers(0, CLASSES, count + 5).astype(np.uint8)
            return Windows(codes, np.arange(count, dtype=np.int32), length=5)
        x = random.normal(size=(count, 4, 4, 1)).astype(np.float32)
        return Examples(x, random.integers(0, CLASSES, count).astype(np.int32))

    train, test = split(TRAIN), split(TEST)
    if not text:
        train.x[-BROKEN:] = np.nan
    return Dataset("random", train, test, CLASSES, (0.1,), (0.9,))


def _partition(random, broken):
    """Ragged shards, of which some are empty; the broken examples are one client's, or nobody's."""
    shards = []
    for count in (TRAIN - BROKEN, TEST):
        cuts = np.sort(random.integers(0, count + 1, CLIENTS - 1))
        shards.append(np.split(random.permutation(count), cuts))
    for k in (0, 1, 2, 3):  # enough for a cohort, one of them held out
        if not len(shards[0][k]):
            shards[0][k] = np.array([int(random.integers(TRAIN - BROKEN))])
    if broken is not None:
        shards[0][broken] = np.concatenate([shards[0][broken], np.arange(TRAIN - BROKEN, TRAIN)])
    return Partition(*(Shards.from_lists(part) for part in shards))


class Participating(World):
    """Who takes part, drawn one by one."""

    def candidates(self):
        with_examples = [k for k in range(self.clients) if self.size(k)]
        draw = rng.generator(self.seed, rng.Purpose.HELD_OUT)
        out = draw.choice(with_examples, self.training.held_out, replace=False).tolist()
        return [k for k in with_examples if k not in out], out

    def cohort(self, round):
        part, size = self.training.participation, self.training.cohort_size
        asked = sample_cohort(
            self.seed, round, np.array(self.candidates()[0]), math.ceil(size * part.over_selection)
        )
        self.share, back = {}, []
        for k in asked.tolist():
            returns, slow, share = rng.generator(self.seed, rng.Purpose.PARTICIPATION, round, k).random(3)
            is_slow = slow < part.stragglers
            self.share[k] = part.straggler_share + (1 - part.straggler_share) * share if is_slow else 1.0
            if returns >= part.dropout:
                back.append(k)
        if len(back) > size:  # the faster first, others by lot
            lot = rng.generator(self.seed, rng.Purpose.PARTICIPATION, round).permutation(len(back)).tolist()
            in_turn = sorted(
                (back[i] for i in lot), key=lambda k: -self.steps_done(k, round) / self.all_steps(k)
            )
            back = sorted(in_turn[:size])
        return back

    def steps_done(self, k, round):
        return max(1, math.ceil(self.share[k] * self.all_steps(k) - 1e-9))

    def stored(self, k):
        return super().stored(k) if self.size(k) else np.zeros(0, int)


@pytest.mark.parametrize("number", every_day([*range(GROUPS)], [], [*range(0, GROUPS, 4)]))
def test_engine_equals_plain_loop(number):
    group, first = Group(number), None
    with mixed_dtypes("adam"):
        for combination in range(EACH):
            settings, partition = group.combination(combination)
            where = f"group {number}, combination {combination}: {settings}, {partition.train.sizes}"
            task, method = DataSpec.of(group.data, partition).build(settings)
            mesh = make_mesh(group.devices)
            sim = Simulator(settings, task, method, group.data, partition, mesh, first)
            first = first or sim
            check(
                sim,
                METHODS[group.name](Participating(settings, task, group.data, partition), settings.method),
                where,
            )


def check(sim, oracle, where):
    state, world = sim.init(), oracle.world
    for round in range(ROUNDS):
        cohort = world.cohort(round)
        state, result = sim.round(state, round, sim.prepare(round))
        assert result.clients == len(cohort), where
        if cohort:
            oracle.round(cohort, round)
            np.testing.assert_allclose(result.train_loss, oracle.train_loss, rtol=1e-4, err_msg=where)
    sim.embeddings.settle(state)
    found = state.shared, own(state.rows.take(np.arange(CLIENTS))), state.generator
    for leaves, expected in zip(found, expected_leaves(oracle, CLIENTS, CLASSES), strict=True):
        for path, leaf in leaves.items():
            np.testing.assert_allclose(leaf, expected[path], atol=3e-5, rtol=1e-4, err_msg=f"{path}: {where}")
    sums, (_, held_out) = sim.evaluate(state), world.candidates()
    for k in range(CLIENTS):
        tested = 0 if k in held_out else len(world.partition.test[k])
        assert sums.examples[k] == tested, where
        if tested:
            right, loss = world.evaluate(k, functools.partial(oracle.predict, k))
            np.testing.assert_allclose(sums.measured[k], right, atol=1e-6, err_msg=where)
            np.testing.assert_allclose(sums.loss[k], loss, rtol=1e-3, err_msg=where)
