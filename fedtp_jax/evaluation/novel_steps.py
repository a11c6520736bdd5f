"""How clients met after training train: where each mode starts, and its local steps."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedtp_jax.config import Hypernetwork
from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.evaluation.adaptation import Adapting, adaptation
from fedtp_jax.evaluation.evaluate import Predict
from fedtp_jax.learning.method import EMBEDDING
from fedtp_jax.learning.task import Task


@dataclasses.dataclass(frozen=True)
class Adaptation:
    """How novel clients train.

    Attributes:
      epochs: passes over a client's train shard.
      learning_rate: of leaves; None: training.learning_rate.
      embedding_learning_rate: of a client's embedding; None: the hypernetwork's, if its optimizer is the
        clients' one, else training.learning_rate.
    """

    epochs: int = 10
    learning_rate: float | None = None
    embedding_learning_rate: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.epochs, bool) or not isinstance(self.epochs, int | np.integer) or self.epochs < 1:
            raise UserError(f"epochs: got {self.epochs!r}, expected a whole number of at least 1")
        for field in ("learning_rate", "embedding_learning_rate"):
            rate = getattr(self, field)
            is_number = isinstance(rate, int | float | np.number) and not isinstance(rate, bool)
            if rate is not None and not (is_number and 0 < rate < np.inf):
                raise UserError(f"{field}: got {rate!r}, expected a number greater than 0")


class Start(NamedTuple):
    """Where a mode starts: what stays, what one client trains, and what clients then run.

    variables: (fixed, trained [K, ...]) -> (shared leaves, rows [K, ...]). Starts of one `kind` share them,
    and `predict`, and thus their programs.
    """

    kind: str
    fixed: Any
    trained: Leaves
    variables: Callable[[Any, Leaves], tuple[Leaves, Leaves]]
    predict: Predict

    @property
    def row(self) -> dict[str, Any]:
        """{path: shape and dtype} of what one client trains."""
        return {path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for path, leaf in self.trained.items()}

    def leaves(self, fixed: Any, trained: Leaves) -> Leaves:
        """All leaves of one client."""
        shared, rows = self.variables(fixed, {path: leaf[None] for path, leaf in trained.items()})
        return {**shared, **{path: leaf[0] for path, leaf in rows.items()}}


def adaptation_work(
    task: Task, hypernetwork: Hypernetwork, start: Start, settings: Adaptation, known: Sequence[str] = ()
) -> ClientWork:
    """The adaptation of one novel client, whose embedding has a learning rate of its own.

    Leaves that are `known` stay what they are.

    Numbers that are not finite leave the client with what it started from.
    """
    rate = settings.learning_rate or task.training.learning_rate
    own, both = settings.embedding_learning_rate, (hypernetwork.optimizer, task.training.optimizer)
    if len({str(getattr(optimizer, "name", optimizer)) for optimizer in both}) == 1:
        own = own or hypernetwork.learning_rate  # a rate of another optimizer says nothing here
    of_embedding = own or task.training.learning_rate
    scale = of_embedding / rate if EMBEDDING in start.trained else 1.0

    def rescale(updates: Leaves) -> Leaves:
        return {**updates, EMBEDDING: updates[EMBEDDING] * scale} if EMBEDDING in updates else updates

    steps = adaptation(task, start.predict, rate, rescale, "embedding_learning_rate" * (scale != 1), known)

    def begin(fixed: Any, row: Row, key: jax.Array) -> Adapting:
        return steps.start(row.leaves)

    def step(fixed: Any, row: Row, carry: Adapting, batch: Batch, key: jax.Array) -> Adapting:
        return steps.step(functools.partial(start.leaves, fixed), carry, batch, key)

    def finish(fixed: Any, row: Row, carry: Adapting) -> tuple[None, Leaves]:
        good = tree.all_finite(carry.own)
        return None, {path: jnp.where(good, leaf, row.leaves[path]) for path, leaf in carry.own.items()}

    return ClientWork(begin, step, finish)
