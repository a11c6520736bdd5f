"""One round and one evaluation: host schedules, compiled programs, and the state between them."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from fedtp_jax import engine, rng, tree
from fedtp_jax.config import SimulationConfig
from fedtp_jax.data.federated import Dataset, Examples, Partition, Windows
from fedtp_jax.errors import UserError
from fedtp_jax.evaluate import Sums, evaluation_work
from fedtp_jax.methods.base import Method, Row, State, Upload
from fedtp_jax.programs import Programs
from fedtp_jax.schedule import (
    Batches,
    Layout,
    auto_lanes,
    build_schedule,
    plan_layout,
    sample_cohort,
    shuffled_batches,
    split_batches,
)
from fedtp_jax.waves import Prepared, Wave, prepare_waves

ROWS_LIMIT = 2**30  # bytes that the rows of one wave may take, by `engine.wave_size: auto`


class RoundResult(NamedTuple):
    """What one round did: clients trained, excluded for numbers that are not finite, mean loss, lane use."""

    clients: int
    excluded: int
    train_loss: float
    examples: int
    occupancy: float


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
        self._evaluation: Prepared | None = None

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
        self.layout = self._plan(
            self._training_bytes, np.sort(steps)[::-1][: training.cohort_size], batch, steps
        )
        test = partition.test.sizes
        self._tested = np.flatnonzero(test)
        if not len(self._tested):
            raise UserError("partition: no client has a test example, so nothing can be evaluated; give some")
        eval_batch = min(config.evaluation.batch_size, int(test.max()))
        eval_steps = -(-test[self._tested] // eval_batch)
        self.evaluation_layout = self._plan(
            self._evaluation_bytes, np.sort(eval_steps)[::-1], eval_batch, eval_steps
        )

    # ------------------------------------------------------------------------------------- the state

    def init(self) -> State:
        """The state before round 0."""
        key = jax.random.key(self.config.seed)
        return self.place(self.programs("init", self.method.init, key))

    def place(self, state: State) -> State:
        """The state on the devices, as the programs expect it."""
        return jax.device_put(state, self._replicated)

    # ----------------------------------------------------------------------------------- preparation

    def _put_examples(self, data: Dataset, part: Examples | Windows) -> engine.DeviceExamples:
        if isinstance(part, Windows):
            raise UserError(f"data.name: {data.name} is text, which no model reads yet; choose another")
        mean, std = np.asarray(data.mean, np.float32), np.asarray(data.std, np.float32)
        arrays = (part.x, part.y.astype(np.int32), mean, std)
        return engine.DeviceExamples(*jax.device_put(arrays, self._replicated))

    def _plan(
        self, bytes_of: Callable[[Layout], int], longest: np.ndarray, batch: int, steps: np.ndarray
    ) -> Layout:
        """A layout for waves of at most len(longest) clients; `steps` are those of all clients.

        `engine.lanes: auto` takes as many lanes as the work fills and, by `bytes_of` a layout's compiled
        program, as the device's memory holds.
        """
        devices, size = self.mesh.size, self._wave_size(len(longest))
        setting = self.config.engine.lanes
        auto = auto_lanes(float(steps.mean()) * size, int(steps.max()), devices, self._accelerator)
        lanes = min(auto if setting == "auto" else setting, -(-size // devices))
        layout = plan_layout(longest[:size], devices, lanes, batch)
        while setting == "auto" and layout.lanes > 1 and bytes_of(layout) > self._memory():
            layout = plan_layout(longest[:size], devices, -(-layout.lanes // 2), batch)
        return layout

    @property
    def _accelerator(self) -> bool:
        return self.mesh.devices.flat[0].platform != "cpu"

    def _memory(self) -> float:
        """Bytes of one device, infinite where it does not tell; a tenth is left to the compiler."""
        stats = self.mesh.devices.flat[0].memory_stats() or {}
        return 0.9 * stats.get("bytes_limit", np.inf)

    def _training_bytes(self, layout: Layout) -> int:
        state, wave, key = self._abstract(layout)
        totals = self._on(self._replicated, jax.eval_shape(self._zero_totals, state))
        return self.programs.num_bytes(
            "train", self._train_wave, state, totals, wave, self._train, key, donate=(0, 1)
        )

    def _evaluation_bytes(self, layout: Layout) -> int:
        state, wave, key = self._abstract(layout)
        return self.programs.num_bytes("evaluate", self._evaluate_wave, state, wave, self._test, key)

    def _abstract(self, layout: Layout) -> tuple[State, Wave, jax.Array]:
        """Shapes and placement of a program's state and wave, without their values."""
        key = jax.random.key(0)
        state = self._on(self._replicated, jax.eval_shape(self.method.init, key))
        tables = build_schedule([], layout).tables
        slots = np.zeros(layout.devices * layout.slots)
        wave = Wave(tables, slots.astype(np.int32), slots.astype(np.float32))  # type: ignore[arg-type]
        return state, self._on(self._per_device, wave), key

    @staticmethod
    def _on(sharding: NamedSharding, arrays: Any) -> Any:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), arrays)

    @functools.cached_property
    def _largest_wave(self) -> int:
        setting = self.config.engine.wave_size
        if setting != "auto":
            return setting
        one = jax.ShapeDtypeStruct((1,), jnp.int32)
        state = jax.eval_shape(self.method.init, jax.random.key(0))
        per_client = max(tree.num_bytes(jax.eval_shape(self.method.send, state, one)[1]), 1)
        return max(self.mesh.size, ROWS_LIMIT // per_client)

    def _wave_size(self, clients: int) -> int:
        return min(clients, self._largest_wave)

    def prepare(self, round: int) -> Prepared:
        """The waves of `round`; a function of the configuration's seed and the round alone."""
        training, seed = self.config.training, self.config.seed
        cohort = sample_cohort(seed, round, self.candidates, training.cohort_size)
        batches = []
        for k in cohort:
            order = rng.generator(seed, rng.Purpose.BATCHES, round, int(k))
            shard = self.partition.train[k]
            batches.append(shuffled_batches(shard, training.local_epochs, self.layout.batch, order))
        return self.prepare_batches(cohort, batches)

    def prepare_batches(self, cohort: np.ndarray, batches: list[Batches]) -> Prepared:
        """The waves for `cohort` [K] with these local steps and weights p_k = n_k / sum over the cohort."""
        sizes = self.partition.train.sizes[cohort]
        return self._waves(cohort, batches, sizes / sizes.sum(), self.layout)

    def _waves(
        self, cohort: np.ndarray, batches: list[Batches], weights: np.ndarray, layout: Layout
    ) -> Prepared:
        size, clients = self._wave_size(len(cohort)), self.partition.num_clients
        return prepare_waves(cohort, batches, weights, layout, size, clients, self._per_device)

    # ---------------------------------------------------------------------------------- a training round

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
        if self._evaluation is None:
            layout, shards = self.evaluation_layout, self.partition.test
            batches = [split_batches(shards[k], layout.batch) for k in self._tested]
            self._evaluation = self._waves(self._tested, batches, np.ones(len(batches)), layout)
        result = np.zeros((3, self.partition.num_clients))
        key = jax.random.key(0)  # evaluation draws nothing
        for wave, ids in zip(self._evaluation.waves, self._evaluation.ids, strict=True):
            sums = self.programs("evaluate", self._evaluate_wave, state, wave, self._test, key)
            sits = ids < self.partition.num_clients
            result[:, ids[sits]] = np.stack(jax.device_get(sums))[:, sits]
        return Sums(*result)

    def _evaluate_wave(self, state: State, wave: Wave, examples: Any, key: jax.Array) -> Sums:
        shared, rows = self.method.variables(state, wave.ids)
        return self._run_wave(self._evaluation_work, wave, examples, shared, rows, key)[1]
