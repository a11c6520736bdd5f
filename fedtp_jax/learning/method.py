"""What a method is: a record of pure functions over a state."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

import jax

from fedtp_jax import config
from fedtp_jax.core.tree import Leaves, Role
from fedtp_jax.engine.lanes import Batch, ClientWork
from fedtp_jax.engine.prelude import Prelude
from fedtp_jax.learning.task import Output

T = TypeVar("T")
EMBEDDING = "client/embedding"  # path of a client's embedding among its rows
OPTIMIZER = "client/embedding_optimizer/"  # and of the leaves of that embedding's optimizer state
DESCRIPTOR = "descriptor/"  # of the hypernetwork's leaves those that compute clients' embeddings


class State(NamedTuple):
    """Everything the server and the clients keep between rounds.

    Attributes:
      shared: {path: leaf} one copy, fixed leaves included.
      rows: what there is of every client: its personal leaves, its embedding and that one's optimizer state.
        Between rounds those of the whole population (`Population`); inside a method's functions
        {path: [K, ...]} of K clients.
      generator: the hypernetwork's parameters, {} where nothing is generated.
      generator_opt, server_opt: states of its optimizer and of the server's.
    """

    shared: Leaves
    rows: Any
    generator: Leaves
    generator_opt: Any
    server_opt: Any


class Upload(NamedTuple):
    """Sums over the cohort of what clients send, each times its weight, and of their weights."""

    shared: Leaves
    weight: jax.Array


class Kept(NamedTuple):
    """Per client: what the host is told of it, and what is not summed.

    Attributes:
      personal: its new rows. One that is left out stays what it was: of a method of the user's own that is
        refused, unless something else writes it (`mix`, steps of embeddings).
      cotangent: p_k * (sent - returned) of the generated leaves.
      loss: summed over the examples of all of its local steps, 0 if excluded.
      excluded: 1.0 if it is.
    """

    personal: Leaves
    cotangent: Leaves
    loss: jax.Array
    excluded: jax.Array


class Received(NamedTuple):
    """What a wave of K clients leaves behind at the server.

    Attributes:
      rows: {path: [K, ...]} new personal leaves.
      generator: gradient of the hypernetwork, summed over clients.
      embeddings: {EMBEDDING: [K, E]} gradients of the clients' embeddings, {} where there are none.
    """

    rows: Leaves
    generator: Leaves
    embeddings: Leaves


class Description(NamedTuple):
    """How clients' embeddings are computed, where they are not learnt.

    Attributes:
      parts: (generator, batch) -> [B, E], of which the mean over a client's examples is its embedding.
      batches: of how many of its batches in a round, drawn anew; None: of all its examples, as outside the
        training.
    """

    parts: Callable[[Leaves, Batch], jax.Array]
    batches: int | None = None


class Counted(NamedTuple):
    """Of the clients' own leaves those that say how many examples of each class a client holds.

    Each knows them from the first round in which it takes part, and no step changes them.

    Attributes:
      paths: of these leaves.
      of: [K, C] examples of each class -> {path: [K, ...]}; of none too.
    """

    paths: tuple[str, ...]
    of: Callable[[jax.Array], Leaves]


class Mix(NamedTuple):
    """How the server combines what the clients of a cohort send of their own.

    Attributes:
      combine: (state without rows, {path: [K, ...]} of the rows under `up`, [K] who counts) -> {path: [K,
        ...]} of all under `down`: rows that replace the clients' own. Who does not count has zeros in place
        of rows, and nobody is given its new ones.
      up, down: beginnings of the paths of rows that clients send, and of those that come back to them.
    """

    combine: Callable[[State, Leaves, jax.Array], Leaves]
    up: tuple[str, ...]
    down: tuple[str, ...]


class Rule(NamedTuple):
    """What the server makes of the changes of K clients, of which the first n are there; one of the two.

    Attributes:
      entries: (changes [K, c], n) -> [c], entry by entry.
      weights: (squared distances between the changes [K, K], weights p_k [K], n) -> [K], of sum 1: what each
        counts for in the mean. Who is not there has distances and weight 0.
    """

    entries: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    weights: Callable[[jax.Array, jax.Array, jax.Array], jax.Array] | None = None


class Apart(NamedTuple):
    """That the server holds the changes of a cohort one by one.

    rule: what it makes of them; like: {path: shape} of all that one client's change is of.
    """

    rule: Rule
    like: Mapping[str, Any]


class Method(NamedTuple):
    """A method as pure functions, on a State that holds the rows of some K clients.

    Attributes:
      roles: {path: role} of every leaf that clients train or run.
      init: (key, ids [K]) -> State with the initial rows of these clients, each a function of (key, id).
      realize: (shared, generator, own) -> {path: [K, ...]}: the leaves that come of what K clients own.
      send: state -> (shared, {path: [K, ...]}): what its clients start a round from.
      work: the local training.
      receive: (state, kept) -> Received: after a wave of clients.
      aggregate: (state, upload, gradient of the generator) -> State: after the round's last wave.
      step_embeddings: (rows, gradients [K, E]) -> rows: the server's step on K clients' embeddings.
      predict: (leaves, inputs [B, ...]) -> Output; given a mask and a key as in training, as Task.forward.
      class_counts: whether the local training asks how many examples of each class a client holds.
      counted: own leaves that follow from the classes that a client holds; None: there are none.
      rules: that gave the model's leaves their roles, for tables: (role, regular expressions).
      hypernetwork: settings of the one that generates leaves, where one does.
      description: of the clients, which gives their embeddings; None: they are learnt.
      prelude: steps of the work that come before a client's local ones.
      only_training: beginnings of the paths of shared leaves and rows that the local training alone reads.
      mix: after `aggregate`, for methods whose server combines clients' own rows.
      sent_bytes: (sizes of the parameters that a client uploads) -> bytes; None: 4 of each.
      apart: how the server combines changes of which it needs each; None: it needs their sum.
    """

    roles: Mapping[str, Role]
    init: Callable[[jax.Array, jax.Array], State]
    realize: Callable[[Leaves, Leaves, Leaves], Leaves]
    send: Callable[[State], tuple[Leaves, Leaves]]
    work: ClientWork
    receive: Callable[[State, Kept], Received]
    aggregate: Callable[[State, Upload, Leaves], State]
    step_embeddings: Callable[[Leaves, jax.Array], Leaves]
    predict: Callable[..., Output]
    class_counts: bool = False
    counted: Counted | None = None
    hypernetwork: config.Hypernetwork = config.Hypernetwork()
    only_training: tuple[str, ...] = ()
    description: Description | None = None
    prelude: Prelude = Prelude()
    mix: Mix | None = None
    rules: tuple[tuple[Role, tuple[str, ...]], ...] = ()
    sent_bytes: Callable[[list[int]], int] | None = None
    apart: Apart | None = None

    def variables(self, state: State) -> tuple[Leaves, Leaves]:
        """(shared, {path: [K, ...]}): what the K clients of the state's rows would run now.

        The one answer to that question, for evaluation, export and new clients.
        """
        shared, rows = self.run_by_clients(state.shared), self.run_by_clients(own(state.rows))
        return shared, self.realize(shared, state.generator, rows)

    def run_by_clients(self, leaves: Mapping[str, T]) -> dict[str, T]:
        """Of shared leaves, or of clients' own, those that do not serve the local training alone."""
        return {path: leaf for path, leaf in leaves.items() if not path.startswith(self.only_training)}

    def travelling(self, shared: Leaves) -> Leaves:
        """Those of the shared leaves that travel in every round: all but the fixed ones."""
        return {path: leaf for path, leaf in shared.items() if self.roles.get(path) != "fixed"}

    @property
    def trainable(self) -> dict[str, Role]:
        """The roles of the leaves that steps may change: all but those that follow from counts."""
        counted = self.counted.paths if self.counted else ()
        return {path: role for path, role in self.roles.items() if path not in counted}

    def mixed(self, rows: Mapping[str, T], way: Literal["up", "down"]) -> dict[str, T]:
        """Of the clients' rows those that travel this way for the server to combine them."""
        begins = getattr(self.mix, way) if self.mix else ()
        return {path: row for path, row in rows.items() if path.startswith(begins)}


def own(rows: Leaves) -> Leaves:
    """What belongs to the clients themselves: their rows but for the server's optimizer of the embeddings."""
    return {path: leaf for path, leaf in rows.items() if not path.startswith(OPTIMIZER)}
