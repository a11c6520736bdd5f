"""One round and one evaluation: host schedules, compiled programs, and the state between them."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from fedtp_jax import engine, rng, tree
from fedtp_jax.config import SimulationConfig
from fedtp_jax.data.federated import Dataset, Examples, Partition
from fedtp_jax.errors import UserError
from fedtp_jax.evaluate import Sums, evaluation_work
from fedtp_jax.methods.base import Method, Row, State, Upload
from fedtp_jax.schedule import (
    Batches,
    Layout,
    Schedule,
    Tables,
    auto_lanes,
    build_schedule,
    plan_layout,
    sample_cohort,
    shuffled_batches,
    split_batches,
)

ROWS_LIMIT = 2**30  # bytes that the rows of one wave may take, by `engine.wave_size: auto`


class Wave(NamedTuple):
    """A wave on the devices. ids, weights: [D * C] per slot; an empty slot has id N and weight 0."""

    tables: Tables
    ids: jax.Array
    weights: jax.Array


class Prepared(NamedTuple):
    """A round's waves and what the host knows of them."""

    waves: list[Wave]
    ids: list[np.ndarray]
    useful_steps: int
    executed_steps: int
    host_seconds: float


class RoundResult(NamedTuple):
    """What one round did: clients trained, excluded for numbers that are not finite, mean loss, lane use."""

    clients: int
    excluded: int
    train_loss: float
    examples: int
    occupancy: float


class Programs:
    """Compiles each function once per layout, ahead of its first call, and keeps count."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self._compiled: dict[Any, Any] = {}

    def __call__(
        self, name: str, function: Callable[..., Any], *args: Any, donate: tuple[int, ...] = ()
    ) -> Any:
        shapes = jax.tree.map(lambda x: (x.shape, str(x.dtype)), args)
        key = (name, jax.tree.structure(shapes), tuple(jax.tree.leaves(shapes)))
        if key not in self._compiled:
            begin = time.perf_counter()
            self._compiled[key] = jax.jit(function, donate_argnums=donate).lower(*args).compile()
            self.seconds += time.perf_counter() - begin
            self.count += 1
        return self._compiled[key](*args)


class Simulator:
    """The rounds of one method on one partition, on one mesh.

    Args:
      config: the simulation's settings.
      method: built for this data and model.
      data, partition: the examples and who holds them.
      mesh: the devices.
    """

    def __init__(
        self, config: SimulationConfig, method: Method, data: Dataset, partition: Partition, mesh: Mesh
    ) -> None:
        self.config, self.method, self.partition, self.mesh = config, method, partition, mesh
        self.programs = Programs()
        self._replicated, self._per_device = engine.replicated(mesh), engine.per_device(mesh)
        self._train = self._put_examples(data, data.train)
        self._test = self._put_examples(data, data.test)
        self._evaluation_work = evaluation_work(method)
        self._evaluation_waves: list[Wave] | None = None
        self._evaluation_ids: list[np.ndarray] = []

        training = config.training
        sizes = partition.train.sizes
        self.candidates = np.flatnonzero(sizes)
        if training.cohort_size > len(self.candidates):
            raise UserError(
                f"training.cohort_size: {training.cohort_size} is more than the {len(self.candidates)} "
                f"clients that hold training examples; use at most {len(self.candidates)}"
            )
        batch = min(training.batch_size, int(sizes.max()))
        steps = training.local_epochs * -(-sizes[self.candidates] // batch)
        self.layout = self._plan(np.sort(steps)[::-1][: training.cohort_size], batch, steps)
        test = partition.test.sizes
        self._tested = np.flatnonzero(test)
        if not len(self._tested):
            raise UserError("partition: no client has a test example, so nothing can be evaluated; give some")
        eval_batch = min(config.evaluation.batch_size, int(test.max()))
        eval_steps = -(-test[self._tested] // eval_batch)
        self.evaluation_layout = self._plan(np.sort(eval_steps)[::-1], eval_batch, eval_steps)

    # ------------------------------------------------------------------------------------- the state

    def init(self) -> State:
        """The state before round 0."""
        key = jax.random.key(self.config.seed)
        return self.place(self.programs("init", self.method.init, key))

    def place(self, state: State) -> State:
        """The state on the devices, as the programs expect it."""
        return jax.device_put(state, self._replicated)

    # ----------------------------------------------------------------------------------- preparation

    def _put_examples(self, data: Dataset, part: Examples) -> engine.DeviceExamples:
        mean, std = np.asarray(data.mean, np.float32), np.asarray(data.std, np.float32)
        arrays = (part.x, part.y.astype(np.int32), mean, std)
        return engine.DeviceExamples(*jax.device_put(arrays, self._replicated))

    def _plan(self, longest: np.ndarray, batch: int, steps: np.ndarray) -> Layout:
        """A layout for waves of at most len(longest) clients; `steps` are those of all clients."""
        devices = self.mesh.size
        size = self._wave_size(len(longest))
        setting = self.config.engine.lanes
        auto = auto_lanes(float(steps.mean()) * size, int(steps.max()), devices, self._accelerator)
        lanes = min(auto if setting == "auto" else setting, -(-size // devices))
        return plan_layout(longest[:size], devices, lanes, batch)

    @property
    def _accelerator(self) -> bool:
        return self.mesh.devices.flat[0].platform != "cpu"

    def _wave_size(self, clients: int) -> int:
        setting = self.config.engine.wave_size
        if setting != "auto":
            return min(setting, clients)
        one = jax.ShapeDtypeStruct((1,), jnp.int32)
        state = jax.eval_shape(self.method.init, jax.random.key(0))
        per_client = max(tree.num_bytes(jax.eval_shape(self.method.send, state, one)[1]), 1)
        return min(clients, max(self.mesh.size, ROWS_LIMIT // per_client))

    def prepare(self, round: int) -> Prepared:
        """The schedule of `round`; depends on the configuration's seed and the round alone."""
        begin = time.perf_counter()
        training, seed = self.config.training, self.config.seed
        cohort = sample_cohort(seed, round, self.candidates, training.cohort_size)
        batches = [
            shuffled_batches(
                self.partition.train[k],
                training.local_epochs,
                self.layout.batch,
                rng.generator(seed, rng.Purpose.BATCHES, round, int(k)),
            )
            for k in cohort
        ]
        return self.prepare_batches(cohort, batches, begin)

    def prepare_batches(
        self, cohort: np.ndarray, batches: list[Batches], begin: float | None = None
    ) -> Prepared:
        """Waves for `cohort` [K] with these local steps; the weights are p_k = n_k / sum over the cohort."""
        begin = begin or time.perf_counter()
        sizes = self.partition.train.sizes[cohort]
        weights = (sizes / sizes.sum()).astype(np.float32)
        waves, ids, useful, executed = [], [], 0, 0
        for part in self._split_waves(len(cohort), self.layout):
            schedule = build_schedule([batches[k] for k in part], self.layout)
            waves.append(self._put_wave(schedule, cohort[part], weights[part]))
            ids.append(_slot_ids(schedule, cohort[part], self.partition.num_clients))
            useful += schedule.useful_steps
            executed += schedule.executed_steps
        return Prepared(waves, ids, useful, executed, time.perf_counter() - begin)

    def _split_waves(self, clients: int, layout: Layout) -> list[np.ndarray]:
        size = self._wave_size(clients)
        return [np.arange(first, min(first + size, clients)) for first in range(0, clients, size)]

    def _put_wave(self, schedule: Schedule, cohort: np.ndarray, weights: np.ndarray) -> Wave:
        sits = schedule.position
        ids = _slot_ids(schedule, cohort, self.partition.num_clients)
        slot_weights = np.where(sits >= 0, weights[sits], 0.0).astype(np.float32)
        return Wave(*jax.device_put((schedule.tables, ids, slot_weights), self._per_device))

    # ------------------------------------------------------------------------------------ a training round

    def round(self, state: State, round: int, prepared: Prepared) -> tuple[State, RoundResult]:
        """Train the prepared cohort and aggregate. `state` is consumed.

        Raises FloatingPointError when no client of the cohort returned finite numbers.
        """
        key = rng.key(self.config.seed, rng.Purpose.CLIENT, round)
        totals = self.programs("zeros", self._zero_totals, state)
        for wave in prepared.waves:
            state, totals = self.programs(
                "train", self._train_wave, state, totals, wave, self._train, key, donate=(0, 1)
            )
        upload = jax.device_get(totals[0]._replace(shared={}))
        clients = sum(int((ids < self.partition.num_clients).sum()) for ids in prepared.ids)
        if int(upload.excluded) == clients:
            raise FloatingPointError(
                f"round {round}: all {clients} clients of the cohort returned numbers that are not finite "
                "(NaN or infinity); lower training.learning_rate (or method.hypernetwork.learning_rate)"
            )
        state = self.programs("aggregate", self.method.aggregate, state, *totals, donate=(0,))
        return state, RoundResult(
            clients=clients,
            excluded=int(upload.excluded),
            train_loss=float(upload.loss) / max(float(upload.examples), 1.0),
            examples=int(upload.examples),
            occupancy=prepared.useful_steps / max(prepared.executed_steps, 1),
        )

    def _run_wave(
        self, work: engine.ClientWork, wave: Wave, examples: Any, shared: Any, rows: Any, key: Any
    ) -> Any:
        keys = jax.vmap(lambda k: jax.random.fold_in(key, k))(wave.ids)
        return engine.run(work, self.mesh, wave.tables, examples, shared, Row(rows, wave.weights), keys)

    def _train_wave(self, state: State, totals: Any, wave: Wave, examples: Any, key: jax.Array) -> Any:
        shared, rows = self.method.send(state, wave.ids)
        upload, kept = self._run_wave(self.method.work, wave, examples, shared, rows, key)
        state, gradient = self.method.receive(state, wave.ids, kept)
        return state, tree.add(totals, (upload, gradient))

    def _zero_totals(self, state: State) -> tuple[Upload, Any]:
        zero = jnp.zeros(())
        upload = Upload(jax.tree.map(jnp.zeros_like, state.shared), zero, zero, zero, zero)
        return upload, jax.tree.map(jnp.zeros_like, state.generator)

    # ---------------------------------------------------------------------------------------- evaluation

    def evaluate(self, state: State) -> Sums:
        """Per-client sums [N] over each client's own test shard (zero for clients without one)."""
        if self._evaluation_waves is None:
            self._evaluation_waves = list(self._prepare_evaluation())
        result = np.zeros((3, self.partition.num_clients))
        key = jax.random.key(0)  # evaluation draws nothing
        for wave, ids in zip(self._evaluation_waves, self._evaluation_ids, strict=True):
            sums = jax.device_get(
                self.programs("evaluate", self._evaluate_wave, state, wave, self._test, key)
            )
            sits = ids < self.partition.num_clients
            result[:, ids[sits]] = np.stack(sums)[:, sits]
        return Sums(*result)

    def _prepare_evaluation(self) -> Iterator[Wave]:
        layout, clients = self.evaluation_layout, self._tested
        for part in self._split_waves(len(clients), layout):
            batches = [split_batches(self.partition.test[k], layout.batch) for k in clients[part]]
            schedule = build_schedule(batches, layout)
            self._evaluation_ids.append(_slot_ids(schedule, clients[part], self.partition.num_clients))
            yield self._put_wave(schedule, clients[part], np.ones(len(part)))

    def _evaluate_wave(self, state: State, wave: Wave, examples: Any, key: jax.Array) -> Sums:
        shared, rows = self.method.variables(state, wave.ids)
        return self._run_wave(self._evaluation_work, wave, examples, shared, rows, key)[1]


def _slot_ids(schedule: Schedule, cohort: np.ndarray, num_clients: int) -> np.ndarray:
    """[D * C] client id per slot, N where nobody sits."""
    sits = schedule.position
    return np.where(sits >= 0, cohort[sits], num_clients).astype(np.int32)


class Prefetch:
    """Prepares the next round on a thread while the devices work on this one."""

    def __init__(self, simulator: Simulator, first: int, rounds: int) -> None:
        self._simulator, self._rounds = simulator, rounds
        self._pool = ThreadPoolExecutor(1, "fedtp-prefetch")
        self._next: Future[Prepared] = self._pool.submit(simulator.prepare, first)

    def take(self, round: int) -> Prepared:
        """The schedule of `round`; starts on the following one."""
        prepared = self._next.result()
        if round + 1 < self._rounds:
            self._next = self._pool.submit(self._simulator.prepare, round + 1)
        return prepared

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
