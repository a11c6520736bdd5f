"""Clients met after training: what they reach at once, by fitting what is theirs, by training everything.

FedTP, arXiv 2211.01572, section IV; fitting freezes the hypernetwork, as pFedHN does, arXiv 2103.04628, 4.3.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from fedtp_jax.config import SimulationConfig
from fedtp_jax.core import rng, tree
from fedtp_jax.core.client_names import called
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.tree import Leaves
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.engine.schedule import Batches, Layout, shuffled_batches, steps_of
from fedtp_jax.engine.waves import Prepared
from fedtp_jax.engine.workbench import Workbench, make_facts
from fedtp_jax.evaluation.descriptions import Descriptions
from fedtp_jax.evaluation.evaluate import Evaluator
from fedtp_jax.evaluation.measures import measures_of
from fedtp_jax.evaluation.metrics import Sums
from fedtp_jax.evaluation.novel_steps import Adaptation, Start, adaptation_work
from fedtp_jax.learning.method import EMBEDDING, Method, State, own
from fedtp_jax.learning.task import STATISTICS, Task
from fedtp_jax.partitions.partition import Partition


class Adapted(NamedTuple):
    """A mode's outcome: per-client sums [M], the leaves of row m by `leaves(m)`, numbers trained."""

    sums: Sums
    leaves: Callable[[int], Leaves]
    trained_parameters: int


class NovelClients:
    """Adapts a trained state to M novel clients, all of them at once through the lane engine.

    Args:
      config, task, method, state: of the training.
      trained: ids of the clients that have: the mean client is their mean.
      data, partition: examples, and who holds them.
      clients: [M] ascending ids in `partition` of the novel clients.
      mesh, names: the devices; the names of all clients in `partition`, or none.
    """

    def __init__(
        self,
        config: SimulationConfig,
        task: Task,
        method: Method,
        state: State,
        trained: np.ndarray,
        data: Dataset,
        partition: Partition,
        clients: np.ndarray,
        mesh: Mesh,
        names: Sequence[str] = (),
    ) -> None:
        self.config, self.task, self.method, self.state, self.trained = config, task, method, state, trained
        self.bench = Workbench(config, data, partition, mesh)
        self.clients, self.names, self._labels = clients, names, data.train.y
        self._counted = method.counted.paths if method.counted else ()
        if not partition.test.sizes[clients].any():
            raise UserError("clients: none of them has a test example; give at least one some")

    def starts(self) -> dict[str, Start]:
        """The modes that the method has, and where they start."""
        method, task = self.method, self.task
        mean = method.run_by_clients(own(self.state.rows.mean(self.trained)))
        if method.counted:  # no mean of what others hold, but what one knows that holds nothing
            unknown = method.counted.of(jnp.zeros((1, task.num_classes)))
            mean |= {path: leaf[0] for path, leaf in unknown.items()}
        fixed = (method.run_by_clients(self.state.shared), self.state.generator)

        def own_variables(fixed: Any, own: Leaves) -> tuple[Leaves, Leaves]:
            shared, phi = fixed
            return shared, method.realize(shared, phi, own)

        def all_variables(fixed: Any, leaves: Leaves) -> tuple[Leaves, Leaves]:
            return fixed, leaves

        at_once = Start("own", fixed, mean, own_variables, method.predict)
        zero_shot = at_once.leaves(fixed, mean)
        everything = {p: w for p, w in zero_shot.items() if p in method.roles}
        others = {p: w for p, w in zero_shot.items() if p not in method.roles}
        key = rng.key(self.config.seed, rng.Purpose.MODEL)
        fresh = tree.flatten(task.init(key))
        starts = {
            "zero_shot": at_once,
            "fit": at_once,
            "fine_tune": Start("fine_tune", others, everything, all_variables, method.predict),
            "local": Start("local", {}, fresh, all_variables, task.forward),
        }
        if not mean.keys() - {*self._counted}:
            del starts["fit"]
        return starts

    def check_examples(self, modes: Sequence[str]) -> None:
        """Raise UserError for a client without train examples, unless it needs none."""
        without = self.clients[self.bench.partition.train.sizes[self.clients] == 0]
        described = self.method.description is not None
        if len(without) and (described or [*modes] != ["zero_shot"]):
            what = "from which its embedding is computed" if described else "to train on"
            hint = "" if described else ", or ask for the mode zero_shot alone, which trains nothing"
            who = called(without[0], self.names)
            raise UserError(f"clients: client {who} has no train example {what}; leave it out{hint}")

    def adapt(self, mode: str, start: Start, settings: Adaptation) -> Adapted:
        """Train the clients as `mode` says, and evaluate them."""
        rows = self._at_start(start)
        if mode != "zero_shot":
            rows = self._train(mode, start, rows, settings)
        fixed, task = self.bench.replicate(start.fixed), self.task
        about_data = task.targets.kind, task.num_classes, task.inputs.each_position
        evaluate = Evaluator(
            self.bench,
            self.task,
            start.variables,
            start.predict,
            self.clients,
            fixed,
            start.row,
            program=f"evaluate {start.kind}",
            measures=measures_of(self.config.evaluation.metrics, *about_data),
        )

        def leaves(row: int) -> Leaves:
            return start.leaves(start.fixed, {path: leaf[row] for path, leaf in rows.items()})

        trained = {path: leaf for path, leaf in start.trained.items() if path not in self._counted}
        size = sum(leaf.size for path, leaf in trained.items() if not path.startswith(STATISTICS))
        each = evaluate(fixed, functools.partial(self._rows_of, rows))
        measured, loss, examples = (np.asarray(part)[self.clients] for part in each[:3])
        measures = {n: v._replace(clients=v.clients[self.clients]) for n, v in each.measures.items()}
        sums = Sums(measured, loss, examples, measures, headline=each.headline)
        return Adapted(sums, leaves, 0 if mode == "zero_shot" else size)

    def _at_start(self, start: Start) -> Mapping[str, np.ndarray]:
        """{path: [M, ...]} of what clients train, alike for all but for what their own examples give."""
        count, method = len(self.clients), self.method
        rows = {path: np.broadcast_to(leaf, (count, *leaf.shape)) for path, leaf in start.trained.items()}
        given: dict[str, Any] = {}
        if method.counted:
            held = self.bench.partition.train
            counts = held.counts_of(self.clients, self._labels, self.task.num_classes)
            given = jax.device_get(method.counted.of(jnp.asarray(counts, jnp.float32)))
        if method.description and start.kind != "local":
            given |= self._described(start)
        return {**rows, **{path: leaf for path, leaf in given.items() if path in rows}}

    def _described(self, start: Start) -> dict[str, np.ndarray]:
        """{path: [M, ...]} of what is made of the clients' examples by the method's description."""
        count, method = len(self.clients), self.method
        phi, mean = self.state.generator, own(self.state.rows.mean(self.trained))
        describe = Descriptions(lambda: method, phi, mean[EMBEDDING], self.bench)
        computed: Any = {EMBEDDING: describe.of(self.bench.replicate(phi), self.clients)}
        if start.kind == "fine_tune":
            for path, leaf in mean.items():
                computed.setdefault(path, np.broadcast_to(leaf, (count, *leaf.shape)))
            made = method.realize(self.state.shared, phi, computed)
            computed = {path: np.asarray(leaf) for path, leaf in made.items()}
        return dict(computed)

    def _rows_of(self, rows: Mapping[str, np.ndarray], ids: np.ndarray) -> Mapping[str, np.ndarray]:
        """The rows [K, ...] of the clients `ids` among those of all novel clients [M, ...]."""
        places = np.searchsorted(self.clients, ids)
        return {path: leaf.take(places, axis=0, mode="clip") for path, leaf in rows.items()}

    def _train(
        self, mode: str, start: Start, rows: Mapping[str, np.ndarray], settings: Adaptation
    ) -> Mapping[str, np.ndarray]:
        """The trained leaves [M, ...] of every client."""
        bench, seed = self.bench, self.config.seed
        sizes = bench.partition.train.sizes[self.clients]
        batch = min(self.config.training.batch_size, int(sizes.max()))
        work = adaptation_work(self.task, self.method.hypernetwork, start, settings, self._counted)
        row_bytes = tree.num_bytes(start.trained)
        steps = settings.epochs * steps_of(sizes, batch)
        fixed = bench.replicate(start.fixed)

        def train(fixed: Any, rows: Leaves, wave: Any, examples: Any) -> Leaves:
            key = rng.key(seed, rng.Purpose.NOVEL)
            kept: Leaves = bench.run(work, wave, examples, fixed, rows, key)[1]
            return kept

        def of_program(what: Callable[..., Any], layout: Layout) -> Any:
            count = layout.devices * layout.slots
            shapes = bench.abstract_rows(tree.rows_like(start.row, count)), bench.abstract_wave(layout)
            return what(f"adapt {mode}", train, fixed, *shapes, bench.examples)

        layout = bench.plan(steps, len(self.clients), batch, row_bytes, of_program)
        size = bench.wave_size(len(self.clients), row_bytes)

        def prepare(clients: np.ndarray) -> Prepared:
            batches = [self._batches(int(k), settings.epochs, batch) for k in clients]
            facts = make_facts(clients, batches, rate=1.0, noise=bench.noise(clients))
            return bench.prepare(clients, batches, facts, layout)

        def run(rows: Leaves, wave: Any) -> Any:
            return bench.programs(f"adapt {mode}", train, fixed, rows, wave, bench.examples)

        waves = map(prepare, np.split(self.clients, range(size, len(self.clients), size)))
        result = {path: np.zeros(leaf.shape, leaf.dtype) for path, leaf in rows.items()}
        for prepared, kept in bench.over_waves(run, waves, functools.partial(self._rows_of, rows)):
            sits = prepared.ids < bench.num_clients
            for path, leaf in kept.items():
                result[path][np.searchsorted(self.clients, prepared.ids[sits])] = leaf[sits]
        return result

    def _batches(self, client: int, epochs: int, batch: int) -> Batches:
        order = rng.generator(self.config.seed, rng.Purpose.NOVEL, client)
        return shuffled_batches(self.bench.train_positions(client), epochs, batch, order)
