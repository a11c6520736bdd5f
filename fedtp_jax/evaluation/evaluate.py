"""Every client on its own whole shard, with the variables it would run, through the lane engine."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np

from fedtp_jax.config import Clients, SimulationConfig
from fedtp_jax.config.metrics import HEADLINES
from fedtp_jax.core import rng, tree
from fedtp_jax.core.client_names import by_name, called, number_of
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.engine.schedule import Batches, Layout, best_batch, join_batches, split_batches, steps_of
from fedtp_jax.engine.waves import Prefetch, Prepared, Wave
from fedtp_jax.engine.workbench import Workbench, make_facts
from fedtp_jax.evaluation.collection import Collection
from fedtp_jax.evaluation.knn import REFERENCE_SCALE, neighbor_work
from fedtp_jax.evaluation.measures import Measure
from fedtp_jax.evaluation.metrics import Score, Scoring, Sums
from fedtp_jax.evaluation.parts import Predictions, Sizes
from fedtp_jax.learning.task import Output, Task
from fedtp_jax.partitions.partition import Partition, Shards

KEPT_LIMIT = 2**26  # bytes of schedules that stay on the devices from one evaluation to the next
Variables = Callable[[Any, Leaves], tuple[Leaves, Leaves]]
Predict = Callable[..., Output]
Split = Literal["test", "validation", "train"]


def evaluation_work(predict: Predict, scoring: Scoring) -> ClientWork:
    """Count right predictions, or add errors up; keeps a Score per client, sums nothing."""

    def start(shared: Leaves, row: Row, key: jax.Array) -> Score:
        return scoring.zero()

    def step(shared: Leaves, row: Row, carry: Score, batch: Batch, key: jax.Array) -> Score:
        return scoring.add(carry, predict({**shared, **row.leaves}, batch.x).logits, batch)

    def finish(shared: Leaves, row: Row, carry: Score) -> tuple[None, Score]:
        return None, carry

    return ClientWork(start, step, finish)


def evaluated_clients(
    config: SimulationConfig, partition: Partition, clients: np.ndarray, names: Sequence[str] = ()
) -> np.ndarray:
    """Ids, ascending, of those of `clients` that are evaluated: all, a sample drawn once, or those named.

    `names` [N] of all clients, or none. Raises UserError where there are not enough with test examples.
    """
    tested = clients[partition.test.sizes[clients] > 0]
    if not len(tested):
        raise UserError("partition: no client has a test example, so nothing can be evaluated; give some")
    count = config.evaluation.clients
    if count is None:
        return clients
    if not isinstance(count, int):
        return _named(count, tested, partition.num_clients, names)
    if count > len(tested):
        who = count_of(len(tested), "client that holds", "clients that hold")
        raise UserError(
            f"evaluation.clients: {count} is more than the {who} test examples; use at most {len(tested)}, "
            "or leave it out"
        )
    draw = rng.generator(config.seed, rng.Purpose.EVALUATED)
    return np.sort(draw.choice(tested, count, replace=False))


def _named(wanted: Clients, tested: np.ndarray, num_clients: int, names: Sequence[str]) -> np.ndarray:
    """Ids, ascending, of clients that the settings name; UserError for one that is not among the `tested`."""
    field, known = "evaluation.clients", by_name(names)
    numbers = [number_of(client, known, num_clients, field) for client in wanted]
    ids = set(numbers)
    if not ids:
        raise UserError(f"{field}: names no client; name some, or leave it out to evaluate all")
    if twice := [client for client in ids if numbers.count(client) > 1]:
        raise UserError(f"{field}: client {called(twice[0], names)} is there twice; name it once")
    if untested := sorted(ids - set(tested.tolist())):
        who = called(untested[0], names)
        raise UserError(f"{field}: client {who} holds no test examples, or is held out; name others")
    return np.array(sorted(ids))


class Evaluator:
    """Evaluates clients, each on its own test shard (or another of its shards), in one program.

    Args:
      bench: the devices and the examples.
      task: the model and how it is trained.
      variables: (server, rows [K, ...]) -> (shared, rows): what clients run.
      predict: (leaves, inputs) -> Output.
      clients: [K] ids of those to evaluate; those without such examples are left out.
      server: what `variables` takes first, or its shapes and placement.
      row: {path: shape and dtype} of one client's row.
      program: name of the compiled program; what has the same name and shapes must do the same.
      like: layout of an evaluator with which to share the program.
      split: on which of its shards a client is evaluated.
      batch: examples in a step; default: as many as configured, or as make it quickest.
      measures: {name: measure} of those beside the headline.
    """

    def __init__(
        self,
        bench: Workbench,
        task: Task,
        variables: Variables,
        predict: Predict,
        clients: np.ndarray,
        server: Any,
        row: Mapping[str, Any],
        program: str = "evaluate",
        like: Layout | None = None,
        split: Split = "test",
        batch: int | None = None,
        measures: Mapping[str, Measure] = {},
    ) -> None:
        self.bench, self.task, self.variables = bench, task, variables
        self.program, self.split, self.measures = program, split, measures
        self.settings = bench.config.evaluation
        self._most = self._most_predictions(clients)
        self.clients = clients[self._sizes[clients] > 0]
        self._server, self._row = server, row
        self._variables_of_one = jax.eval_shape(variables, server, tree.rows_like(row, 1))
        self._row_bytes = tree.num_bytes(self._variables_of_one[1])
        self._kept_waves: list[Prepared] | None = None
        self.work = self._make_work(predict)
        if parts := jax.eval_shape(self._scoring.zero).parts:
            self.program += f", {' '.join(parts)}" + f" of {self._most}" * bool(self._most)
            self._row_bytes += tree.num_bytes(parts)
        self._wave_size = bench.wave_size(len(self.clients), self._row_bytes)
        batch = batch or self._batch_size()
        steps = self._steps(batch)
        self.layout = bench.plan(steps, len(self.clients), batch, self._row_bytes, self._of_program, like)

    @property
    def _sizes(self) -> np.ndarray:
        """[N] examples in each client's shard."""
        shards: Shards = getattr(self.bench.partition, self.split)
        return shards.sizes

    def _most_predictions(self, clients: np.ndarray) -> int:
        """How many of one client may be kept, if a measure needs them: on any kind of shards as many.

        A power of two, so that most seeds share a program.
        """
        if not any(measure.needs is Predictions for measure in self.measures.values()):
            return 0
        partition = self.bench.partition
        shards = [partition.test, *([partition.validation] if partition.validation else [])]
        shards += [partition.train] if self.settings.fit else []
        most = max(int(part.sizes[clients].max()) for part in shards)
        return int(1 << max(most - 1, 0).bit_length())

    @property
    def _scoring(self) -> Scoring:
        """How a client's examples are scored."""
        kinds = dict.fromkeys(measure.needs for measure in self.measures.values())
        targets, classes = self.task.targets, self.task.num_classes
        return Scoring(targets, Sizes(classes, self._most, targets.label_shape(classes)), tuple(kinds))

    def _make_work(self, predict: Predict) -> ClientWork:
        """What one client does; where nearest neighbours take part it keeps train features [kept, size]."""
        if not self.settings.knn.weight:
            return evaluation_work(predict, self._scoring)
        size = self.task.feature_size("evaluation.knn")
        kept = int(self._kept(self.bench.partition.train.sizes[self.clients]).max())
        scale = REFERENCE_SCALE if self.bench.config.compat == "reference" else None
        self.program = f"{self.program} beside {kept} neighbours"
        self._row_bytes += 4 * kept * size
        return neighbor_work(predict, self._scoring, self.settings.knn, max(kept, 1), size, scale)

    def _batch_size(self) -> int:
        """Examples in a step: as many as configured, or as make passes over these shards quickest."""
        sizes = self._sizes[self.clients]
        if self.settings.knn.weight:
            kept = self._kept(self.bench.partition.train.sizes[self.clients])
            sizes = np.concatenate([sizes, kept])
        batch = min(self.settings.batch_size, int(sizes.max(initial=1)))
        return best_batch(sizes, batch)

    def __call__(
        self,
        server: Any,
        rows_of: Callable[[np.ndarray], Any],
        waves: Iterable[Prepared] | None = None,
    ) -> Sums:
        """Per-client sums [N] over each client's own shard (zero for clients that are not evaluated).

        `rows_of` gives the rows [K, ...] of the clients with these ids [K]. `waves`: those of some clients;
        default: of all.
        """
        bench = self.bench
        key = rng.key(bench.config.seed, rng.Purpose.EVALUATION)

        def wave(rows: Leaves, wave: Wave) -> Any:
            return bench.programs(self.program, self._wave, server, rows, wave, bench.examples, key)

        result, sizes = np.zeros((3, bench.num_clients)), self._sizes
        targets = self.task.targets
        collection = Collection(self.measures, bench.num_clients, targets, self._labels_of)
        for prepared, score in bench.over_waves(wave, self._waves() if waves is None else waves, rows_of):
            sits = prepared.ids < bench.num_clients
            ids = prepared.ids[sits]
            result[:, ids] = score.measured[sits] / bench.examples.labels, score.loss[sits], sizes[ids]
            collection.add(prepared.ids, score.parts)
        found = collection.values(), collection.counts, HEADLINES[targets.kind]
        return Sums(result[0], result[1], result[2], *found)

    def stored_positions(self, client: int) -> np.ndarray:
        """Positions of the train examples that `client` keeps for its neighbours, in its shard's order."""
        shard = self.bench.train_positions(client)
        kept = int(self._kept(np.array(len(shard))))
        if kept == len(shard):
            return shard
        draw = rng.generator(self.bench.config.seed, rng.Purpose.NEIGHBORS, client)
        return shard[np.sort(draw.choice(len(shard), kept, replace=False))]

    def _kept(self, sizes: np.ndarray) -> np.ndarray:
        least = np.minimum(sizes, 1)
        return np.maximum(np.floor(sizes * self.settings.knn.capacity), least).astype(np.int64)

    def _steps(self, batch: int) -> np.ndarray:
        steps = steps_of(self._sizes[self.clients], batch)
        if self.settings.knn.weight:
            steps = steps + steps_of(self._kept(self.bench.partition.train.sizes[self.clients]), batch)
        return np.asarray(steps)

    def _batches(self, client: int) -> Batches:
        batch = self.layout.batch
        tested = split_batches(self._positions(client), batch)
        if not self.settings.knn.weight:
            return tested
        return join_batches([split_batches(self.stored_positions(client), batch), tested])

    def _positions(self, client: int) -> np.ndarray:
        """Of the examples on which the client is evaluated, in their order."""
        positions: np.ndarray = getattr(self.bench, f"{self.split}_positions")(client)
        return positions

    def _labels_of(self, client: int) -> np.ndarray:
        """[M, ...] as the data have them."""
        labels: np.ndarray = self.bench.targets[self._positions(client)]
        return labels

    def _waves(self) -> Iterator[Prepared]:
        """The waves, which are the same in every evaluation: kept on the devices if they are small."""
        if self._kept_waves is not None:
            return iter(self._kept_waves)
        if -(-len(self.clients) // self._wave_size) * self.layout.num_bytes <= KEPT_LIMIT:
            self._kept_waves = list(self.prepare())
            return iter(self._kept_waves)
        return Prefetch(iter([self.prepare()])).take()

    def prepare(self) -> Iterator[Prepared]:
        """The waves, each made when it is asked for."""
        for first in range(0, len(self.clients), self._wave_size):
            yield self._prepare(self.clients[first : first + self._wave_size])

    def _prepare(self, clients: np.ndarray) -> Prepared:
        batches = [self._batches(int(k)) for k in clients]
        facts = make_facts(clients, batches, noise=self.bench.noise(clients))
        return self.bench.prepare(clients, batches, facts, self.layout)

    @property
    def program_bytes(self) -> int:
        """Bytes that evaluating a wave takes on each device, the data set included."""
        return int(self._of_program(self.bench.programs.num_bytes, self.layout))

    def compile(self) -> None:
        """Start to compile the program."""
        self._of_program(self.bench.programs.start, self.layout)

    def _of_program(self, what: Callable[..., Any], layout: Layout) -> Any:
        """What of the programs (such as `Programs.num_bytes`) is asked, of the one for this layout."""
        return what(self.program, self._wave, *self._shapes(layout))

    def _shapes(self, layout: Layout) -> tuple[Any, ...]:
        """The arguments of `_wave`, abstract as far as they are not known in advance."""
        bench, server = self.bench, self._server
        rows = bench.abstract_rows(tree.rows_like(self._row, layout.devices * layout.slots))
        return server, rows, bench.abstract_wave(layout), bench.examples, jax.random.key(0)

    def _wave(self, server: Any, rows: Leaves, wave: Wave, examples: Any, key: jax.Array) -> Score:
        shared, rows = self.variables(server, rows)
        score: Score = self.bench.run(self.work, wave, examples, shared, rows, key, steady=True)[1]
        return score
