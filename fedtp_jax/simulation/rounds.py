"""The rounds of a simulation: prepare on the host, train a cohort, aggregate, evaluate everybody."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from fedtp_jax.config import SimulationConfig
from fedtp_jax.core import rng, tree
from fedtp_jax.core.tree import Leaves
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.engine.meeting import Simulation, beside
from fedtp_jax.engine.schedule import Batches, Layout
from fedtp_jax.engine.waves import Prepared, Wave
from fedtp_jax.engine.workbench import Workbench, make_facts, row_bytes
from fedtp_jax.evaluation.evaluate import Evaluator, evaluated_clients
from fedtp_jax.evaluation.metrics import Sums
from fedtp_jax.learning.method import Method, State, Upload
from fedtp_jax.learning.optimizers import learning_rate_factor
from fedtp_jax.learning.sharded import server_shardings, sharded
from fedtp_jax.learning.task import Task
from fedtp_jax.partitions.make import client_names
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.simulation.clock import make_clock
from fedtp_jax.simulation.embeddings import Embeddings, make_embeddings
from fedtp_jax.simulation.evaluators import Evaluators, make_evaluators
from fedtp_jax.simulation.held_changes import HeldChanges
from fedtp_jax.simulation.initial_state import InitialState
from fedtp_jax.simulation.mixing import Mixing
from fedtp_jax.simulation.numbers import traced_with
from fedtp_jax.simulation.participation import Participation
from fedtp_jax.simulation.private_rounds import PrivateRounds
from fedtp_jax.simulation.round_result import RoundResult, check_excluded, result_of, traffic, void_round
from fedtp_jax.uploads.adversaries import adversaries_of

BenchMaker = Callable[[SimulationConfig, Dataset, Partition, Mesh], Workbench]


class Simulator:
    """The rounds of one method on one partition, on one mesh.

    Args:
      config: the simulation's settings.
      task: the model and how it is trained.
      method: built for this task.
      data, partition: the examples and who holds them.
      mesh: the devices.
      share_with: a simulator of the same configuration and data but for the seed, whose programs are used.
      make_bench: makes the bench on which it works.
    """

    def __init__(
        self,
        config: SimulationConfig,
        task: Task,
        method: Method,
        data: Dataset,
        partition: Partition,
        mesh: Mesh,
        share_with: "Simulator | None" = None,
        make_bench: BenchMaker = Workbench,
    ) -> None:
        self.config, self.task, self.partition = config, task, partition
        self.method, self.prelude, self.numbers = sharded(method, mesh), method.prelude, dict[str, float]()
        self.bench: Workbench = (
            share_with.bench.for_partition(config, partition)
            if share_with
            else make_bench(config, data, partition, mesh)
        )
        self.programs = self.bench.programs
        self.initial = InitialState(method, partition.num_clients, config.seed, self.programs)
        self._shardings = server_shardings(mesh, self.initial.server)
        self._server_shapes = self.bench.abstract(self.initial.server, self._shardings)
        # one function wherever it is asked: JAX traces it once
        self.variables = lambda server, rows: self.method.variables(server._replace(rows=rows))
        self._names = client_names(config.partition, data)
        self.traffic = traffic(method, self.initial.one_client, task)
        clock = make_clock(config, partition.train.sizes, self.traffic, self.prelude, self._names)
        self.participation = Participation(config, partition, self._names, clock)
        self.adversaries = adversaries_of(config, partition.num_clients)
        self.private = PrivateRounds(config, len(self.participation.candidates), self.programs)
        self.held = HeldChanges(
            lambda: self.method, self.bench, self.participation, self._shardings.generator
        )
        self._labels, self._classes = data.train.y, data.num_classes if method.class_counts else 0
        self.layout: Layout = self._plan(share_with.layout if share_with else None)
        self.evaluated = evaluated_clients(config, partition, self.participation.clients, self._names)
        self.evaluators: Evaluators = make_evaluators(
            *(self.bench, self.evaluated, self.method.trainable),
            like=share_with.evaluators if share_with else None,
            task=task,
            variables=self.variables,
            predict=lambda *arguments: self.method.predict(*arguments),
            server=self._server_shapes,
            row=self.method.run_by_clients(self.initial.own_row),
        )
        about = (lambda: self.method), self.initial, self.bench
        self.embeddings: Embeddings = make_embeddings(*about, share_with.embeddings if share_with else None)
        self.mixing = Mixing(*about, self.participation.most)

    def _plan(self, like: Layout | None) -> Layout:
        """A training layout that any cohort fits."""
        who = self.participation
        sizes = self.partition.train.sizes[who.candidates]
        batch = min(self.config.training.batch_size, int(sizes.max()))
        steps = who.local_steps[who.candidates] + self.prelude.steps(sizes, batch)
        return self.bench.plan(steps, who.usual, batch, self.row_bytes, self._of_program, like)

    @functools.cached_property
    def row_bytes(self) -> int:
        """Of what one client brings to the devices: its rows as they are sent, or as they are evaluated."""
        server, row = self.initial.server, tree.rows_like(self.initial.own_row, 1)
        sent = row_bytes(self.method.send, self.initial.one_client)
        return max(sent + self.held.row_bytes, row_bytes(self.variables, server, row))

    @property
    def wave_size(self) -> int:
        """Clients of a wave, unless it is a round's last: whoever dropped out, and however many came."""
        return self.bench.wave_size(self.participation.usual, self.row_bytes)

    def _of_program(self, what: Callable[..., Any], layout: Layout) -> Any:
        """What of the programs (such as `Programs.num_bytes`) is asked, of the one for this layout."""
        return what("train", self._train_wave, *self._shapes(layout), donate=(2,))

    def _shapes(self, layout: Layout) -> tuple[Any, ...]:
        """The arguments of `_train_wave`, abstract as far as they are not known in advance."""
        bench, server = self.bench, self._server_shapes
        upload, generator = jax.eval_shape(self._zero_totals, server)
        totals = bench.abstract(upload), bench.abstract(generator, self._shardings.generator)
        rows = tree.rows_like(self.initial.own_row, layout.devices * layout.slots)
        wave = bench.abstract_wave(layout, self._classes)
        return server, bench.abstract_rows(rows), totals, wave, bench.examples, jax.random.key(0)

    @property
    def program_bytes(self) -> int:
        """Bytes that training a wave takes on each device, the data set included."""
        return int(self._of_program(self.programs.num_bytes, self.layout))

    def beside(self, simulations: int) -> tuple[str, Callable[..., Any], tuple[Any, ...]]:
        """Name, function and abstract arguments of what trains a wave of each of so many simulations."""
        each = [self._shapes(self.layout) for _ in range(simulations)]
        return beside("train", self._train_wave, each, [self.alike] * simulations, self.bench.examples)

    @property
    def alike(self) -> Simulation:
        """Itself among simulations whose programs are alike but for `numbers`."""
        return Simulation(self.numbers, functools.partial(traced_with, self))

    def compile(self, alone: bool = True) -> None:
        """Start to compile the first round's programs, longest first; not `alone`, the initial state's."""
        if not alone:
            self.initial.compile(self.bench.put_alone)
            return
        server, rows, totals, *others = self._shapes(self.layout)
        self.programs.start("train", self._train_wave, server, rows, totals, *others, donate=(2,))
        self.initial.compile(self.bench.put_alone)
        self.programs.start("zeros", self._zero_totals, server)
        self.programs.start("aggregate", self._aggregate, server, *totals, donate=(0,))
        self.embeddings.compile()
        self.mixing.compile(server)

    def init(self, folder: Path | None = None) -> State:
        """The state before round 0; rows that live on disk are files in `folder`."""
        return self.place(self.initial.state(self.config.engine.rows, folder))

    def place(self, state: State) -> State:
        """The state with the server's part on the devices, as the programs expect it."""
        return self.bench.put(self._shardings, _server(state))._replace(rows=state.rows)

    def fetch(self, state: State) -> State:
        """The inverse of `place`, by all processes together: of several each holds parts of the state."""
        self.embeddings.settle(state)
        fetched = jax.tree.map(lambda leaf: self.bench.fetch(leaf)(), _server(state))
        return fetched._replace(rows=state.rows)

    # ----------------------------------------------------------------------------------- preparation

    def prepare(self, round: int) -> Iterator[Prepared]:
        """The waves of `round`, none if it is void; a function of the seed and the round alone."""
        if not self.participation.takes_place(round):
            return
        cohort, steps, draws, *_ = self.participation.participants(round)
        rate = learning_rate_factor(self.config.training, round)
        for first in range(0, len(cohort), self.wave_size):
            part = slice(first, first + self.wave_size)
            work = zip(cohort[part].tolist(), steps[part].tolist(), strict=True)
            batches = [self._batches(round, *one) for one in work]
            yield self.prepare_wave(cohort[part], batches, np.repeat(cohort, draws), rate)

    def _batches(self, round: int, client: int, steps: int) -> Batches:
        """The method's prelude, and the client's first `steps` local steps in `round`."""
        order = rng.generator(self.config.seed, rng.Purpose.BATCHES, round, client)
        about = self.bench.train_positions(client), self.config.training.local_epochs, self.layout.batch
        return self.prelude.and_local_steps(*about, order, steps)

    def prepare_wave(
        self, clients: np.ndarray, batches: Sequence[Batches], cohort: np.ndarray, rate: float = 1.0
    ) -> Prepared:
        """The wave of `clients` [K] with these local steps, and their weights p_k in the cohort of all draws.

        `rate` is the round's factor on the clients' learning rate.
        """
        facts = make_facts(
            clients,
            batches,
            weight=self.participation.weights(clients, cohort),
            rate=rate,
            noise=self.bench.noise(clients),
            class_counts=self.partition.train.counts_of(clients, self._labels, self._classes),
        )
        return self.bench.prepare(clients, batches, facts, self.layout)

    # ---------------------------------------------------------------------------------- a training round

    def round(self, state: State, round: int, waves: Iterable[Prepared]) -> tuple[State, RoundResult]:
        """Train the cohort of these waves and aggregate. `state` is consumed.

        Raises FloatingPointError when no client of the cohort returned finite numbers, or one did not and
        training.on_nonfinite is "stop".
        """
        server, rows = _server(state), state.rows
        key = rng.key(self.config.seed, rng.Purpose.CLIENT, round)
        totals = self.programs("zeros", self._zero_totals, server)

        def train(own: Leaves, wave: Wave) -> Any:
            nonlocal totals
            totals, received = self.programs(
                "train", self._train_wave, server, own, totals, wave, self.bench.examples, key, donate=(2,)
            )
            return received

        done, gradients, excluded, returned, loss, examples = [], [], [], [], 0.0, 0
        take = self.embeddings.rows(state, list(self.initial.own_row), round)
        for prepared, (personal, gradient, losses, bad) in self.bench.over_waves(train, waves, take):
            # an excluded client is as if it had never been drawn
            returned.append(np.where(bad > 0, rows.clients, prepared.ids))
            rows.put(returned[-1], self.held.taken(returned[-1], personal))
            gradients.append(gradient)
            excluded += prepared.ids[bad > 0].tolist()
            rows.trained[returned[-1][returned[-1] < rows.clients]] += 1
            loss += float(losses.sum(dtype=np.float64))
            examples += int(prepared.examples[bad == 0].sum())
            done.append(prepared[3:])
        asked = self.participation.participants(round)
        if done:
            stop, sent = self.config.training.on_nonfinite, (server.shared, server.generator)
            check_excluded(round, sorted(excluded), sum(wave[0] for wave in done), stop, self._names, sent)
        elif not self.private.noise:  # of a private run nobody is to see that nobody came
            return server._replace(rows=rows), void_round(asked, self.traffic)
        ids = np.concatenate([np.zeros(0, np.int64), *returned])
        totals = self.private.added(totals, round, server.shared)
        totals = self.held.combined(self.embeddings.step(state, round, ids, gradients, totals))
        server = self.programs("aggregate", self._aggregate, server, *totals, donate=(0,))
        self.mixing.step(server, rows, ids)
        about = asked, done, excluded, loss, examples, self.traffic
        return server._replace(rows=rows), result_of(*about) if done else void_round(asked, self.traffic)

    def _train_wave(
        self, server: State, rows: Leaves, totals: Any, wave: Wave, examples: Any, key: jax.Array
    ) -> Any:
        """(totals, (new personal rows, gradients of the embeddings, losses, who is excluded))."""
        state = server._replace(rows=rows)
        shared, sent = self.method.send(state)
        upload, kept = self.bench.run(self.method.work, wave, examples, shared, sent, key)
        received = self.method.receive(state, kept)
        # where the next program expects it, be the heads ever so narrow
        gradient = jax.lax.with_sharding_constraint(received.generator, self._shardings.generator)
        totals = tree.add(totals, (upload, gradient))
        return totals, (received.rows, received.embeddings, kept.loss, kept.excluded)

    def _aggregate(self, server: State, upload: Upload, gradient: Leaves) -> State:
        return self.method.aggregate(server, upload, gradient)

    def _zero_totals(self, server: State) -> tuple[Upload, Any]:
        shared = self.method.travelling(server.shared)
        upload = Upload(jax.tree.map(jnp.zeros_like, shared), jnp.zeros(()))
        generator = jax.tree.map(jnp.zeros_like, server.generator)
        return upload, jax.lax.with_sharding_constraint(generator, self._shardings.generator)

    # ---------------------------------------------------------------------------------------- evaluation

    def evaluate(
        self, state: State, waves: Iterable[Prepared] | None = None, evaluator: Evaluator | None = None
    ) -> Sums:
        """Per-client sums [N] over each client's own shard (zero for clients that are not evaluated).

        `evaluator`: one of `evaluators`, default: `evaluators.test`.
        """
        take = self.embeddings.rows(state, list(self.method.run_by_clients(self.initial.own_row)))
        return (evaluator or self.evaluators.test)(_server(state), take, waves)


def _server(state: State) -> State:
    """The state without rows."""
    return state._replace(rows={})
