"""The rounds of a simulation: prepare on the host, train a cohort, aggregate, evaluate everybody."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from fedtp_jax import engine, rng, tree
from fedtp_jax.config import SimulationConfig
from fedtp_jax.data.federated import Dataset, Partition
from fedtp_jax.errors import UserError
from fedtp_jax.evaluate import Evaluator
from fedtp_jax.methods.base import Method, State, Task, Upload
from fedtp_jax.optimizers import learning_rate_factor
from fedtp_jax.schedule import Batches, Layout, sample_cohort, shuffled_batches, steps_of
from fedtp_jax.waves import Prepared, Wave
from fedtp_jax.workbench import Workbench, make_facts, row_bytes


class RoundResult(NamedTuple):
    """What one round did: clients trained, excluded for numbers that are not finite, mean loss, lane use.

    bytes_down, bytes_up: sent by the server to the whole cohort, and back, if nothing is compressed.
    """

    clients: int
    excluded: int
    train_loss: float
    examples: int
    occupancy: float
    bytes_down: int
    bytes_up: int


class Simulator:
    """The rounds of one method on one partition, on one mesh.

    Args:
      config: the simulation's settings.
      task: the model and how it is trained.
      method: built for this task.
      data, partition: the examples and who holds them.
      mesh: the devices.
    """

    def __init__(
        self,
        config: SimulationConfig,
        task: Task,
        method: Method,
        data: Dataset,
        partition: Partition,
        mesh: Mesh,
    ) -> None:
        self.config, self.task, self.method, self.partition = config, task, method, partition
        self.bench = Workbench(config, data, partition, mesh)
        self.programs = self.bench.programs
        self._labels, self._classes = data.train.y, data.num_classes if method.class_counts else 0
        self._state = jax.eval_shape(method.init, jax.random.key(0))
        self._row_bytes = row_bytes(method.send, method.variables, state=self._state)
        self.takes_part = np.setdiff1d(
            np.arange(partition.num_clients), held_out_clients(config, partition.train.sizes)
        )
        self.candidates = self.takes_part[partition.train.sizes[self.takes_part] > 0]
        self.layout = self._plan()
        if not partition.test.sizes[self.takes_part].any():
            raise UserError("partition: no client has a test example, so nothing can be evaluated; give some")
        self.evaluate = Evaluator(
            self.bench,
            method.variables,
            method.predict,
            self.takes_part,
            self._state,
            lambda: task.feature_size("evaluation.knn"),
        )
        self.traffic = traffic(method, self._state, task)

    def _plan(self) -> Layout:
        training = self.config.training
        if training.cohort_size > len(self.candidates):
            raise UserError(
                f"training.cohort_size: {training.cohort_size} is more than the {len(self.candidates)} "
                f"clients that hold training examples; use at most {len(self.candidates)}"
            )
        sizes = self.partition.train.sizes[self.candidates]
        batch = min(training.batch_size, int(sizes.max()))
        steps = training.local_epochs * steps_of(sizes, batch)
        if training.local_steps is not None:
            steps = np.full(len(sizes), training.local_steps)
        return self.bench.plan(steps, training.cohort_size, batch, self._row_bytes, self._bytes)

    def _bytes(self, layout: Layout) -> int:
        return self.programs.num_bytes("train", self._train_wave, *self._shapes(layout), donate=(0, 1))

    def _shapes(self, layout: Layout) -> tuple[Any, ...]:
        """The arguments of `_train_wave`, abstract as far as they are not known in advance."""
        state, wave = self.bench.abstract(self._state, layout, self._classes)
        totals, _ = self.bench.abstract(jax.eval_shape(self._zero_totals, self._state), layout)
        return state, totals, wave, self.bench.examples, jax.random.key(0)

    def compile(self) -> None:
        """Start to compile what the first round needs, in the order in which it does, and go on meanwhile."""
        state, totals, *others = self._shapes(self.layout)
        self.programs.start("init", self.method.init, jax.random.key(0))
        self.programs.start("train", self._train_wave, state, totals, *others, donate=(0, 1))
        self.programs.start("zeros", self._zero_totals, state)
        self.programs.start("aggregate", self.method.aggregate, state, *totals, donate=(0,))

    def init(self) -> State:
        """The state before round 0."""
        key = jax.random.key(self.config.seed)
        return self.place(self.programs("init", self.method.init, key))

    def place(self, state: State) -> State:
        """The state on the devices, as the programs expect it."""
        return jax.device_put(state, self.bench.replicated)

    # ----------------------------------------------------------------------------------- preparation

    def prepare(self, round: int) -> Prepared:
        """The waves of `round`; a function of the configuration's seed and the round alone."""
        training, seed = self.config.training, self.config.seed
        cohort = sample_cohort(seed, round, self.candidates, training.cohort_size)
        batches = []
        for k in cohort:
            order = rng.generator(seed, rng.Purpose.BATCHES, round, int(k))
            shard = self.bench.train_positions(int(k))
            batches.append(
                shuffled_batches(shard, training.local_epochs, self.layout.batch, order, training.local_steps)
            )
        return self.prepare_batches(
            cohort, batches, learning_rate_factor(training.schedule, round, training.rounds)
        )

    def prepare_batches(self, cohort: np.ndarray, batches: Sequence[Batches], rate: float = 1.0) -> Prepared:
        """The waves for `cohort` [K] with these local steps and weights p_k = n_k / sum over the cohort.

        `rate` is the round's factor on the clients' learning rate.
        """
        sizes = self.partition.train.sizes[cohort]
        facts = make_facts(
            cohort,
            batches,
            weight=sizes / sizes.sum(),
            rate=rate,
            noise=self.bench.noise(cohort),
            class_counts=self._class_counts(cohort),
        )
        return self.bench.lay_out(cohort, batches, facts, self.layout, self._row_bytes)

    def _class_counts(self, cohort: np.ndarray) -> np.ndarray:
        """[K, C] train examples of each class; C = 0 where the method does not ask."""
        if not self._classes:
            return np.zeros((len(cohort), 0))
        shards = self.partition.train
        return np.stack([np.bincount(self._labels[shards[k]], minlength=self._classes) for k in cohort])

    # ---------------------------------------------------------------------------------- a training round

    def round(self, state: State, round: int, prepared: Prepared) -> tuple[State, RoundResult]:
        """Train the prepared cohort and aggregate. `state` is consumed.

        Raises FloatingPointError when no client of the cohort returned finite numbers.
        """
        key = rng.key(self.config.seed, rng.Purpose.CLIENT, round)
        totals = self.programs("zeros", self._zero_totals, state)
        for wave in prepared.waves:
            state, totals = self.programs(
                "train", self._train_wave, state, totals, wave, self.bench.examples, key, donate=(0, 1)
            )
        upload = jax.device_get(totals[0]._replace(shared={}))
        clients = prepared.clients
        if int(upload.excluded) == clients:
            raise FloatingPointError(
                f"round {round + 1}: all {clients} clients of the cohort returned numbers that are not "
                "finite; lower training.learning_rate, and the hypernetwork's where there is one"
            )
        state = self.programs("aggregate", self.method.aggregate, state, *totals, donate=(0,))
        return state, RoundResult(
            clients=clients,
            excluded=int(upload.excluded),
            train_loss=float(upload.loss) / max(float(upload.examples), 1.0),
            examples=int(upload.examples),
            occupancy=prepared.useful_steps / max(prepared.executed_steps, 1),
            bytes_down=clients * self.traffic[0],
            bytes_up=clients * self.traffic[1],
        )

    def _train_wave(self, state: State, totals: Any, wave: Wave, examples: Any, key: jax.Array) -> Any:
        shared, rows = self.method.send(state, wave.ids)
        upload, kept = self.bench.run(self.method.work, wave, examples, shared, rows, key)
        state, gradient = self.method.receive(state, wave.ids, kept)
        return state, tree.add(totals, (upload, gradient))

    def _zero_totals(self, state: State) -> tuple[Upload, Any]:
        zero = jnp.zeros(())
        upload = Upload(jax.tree.map(jnp.zeros_like, state.shared), zero, zero, zero, zero)
        return upload, jax.tree.map(jnp.zeros_like, state.generator)


def held_out_clients(config: SimulationConfig, sizes: np.ndarray) -> np.ndarray:
    """Ids, ascending, of the clients that never train, drawn from those with train examples; sizes [N]."""
    count, clients = config.training.held_out, np.flatnonzero(sizes)
    if count >= len(clients):
        raise UserError(
            f"training.held_out: {count} of {len(clients)} clients would leave none to train; hold out fewer"
        )
    draw = rng.generator(config.seed, rng.Purpose.HELD_OUT)
    return np.sort(draw.choice(clients, count, replace=False))


def traffic(method: Method, state: Any, task: Task) -> tuple[int, int]:
    """Bytes that one client of a cohort receives, and that it sends: personal leaves stay with it."""
    one = jax.ShapeDtypeStruct((1,), np.int32)
    shared, rows = jax.eval_shape(method.send, state, one)
    row = engine.Row(rows, make_facts(np.zeros(1), [], classes=task.num_classes))

    def a_round(shared: Any, row: Any) -> Any:
        row = jax.tree.map(lambda leaf: leaf[0], row)
        return method.work.finish(shared, row, method.work.start(shared, row, jax.random.key(0)))

    upload, kept = jax.eval_shape(a_round, shared, row)
    down = (shared, tree.select(rows, method.roles, "generated"))
    return tree.num_bytes(down), tree.num_bytes((upload.shared, kept.cotangent))
