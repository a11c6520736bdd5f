"""Every client tested once more, after training on its own train shard: FedAvg-FT, the same of any method."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from fedtp_jax.core import rng, tree
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.engine.schedule import Batches, join_batches, shuffled_batches, steps_of
from fedtp_jax.evaluation.adaptation import AdaptationSteps, Adapting, adaptation
from fedtp_jax.evaluation.evaluate import Evaluator, Predict
from fedtp_jax.evaluation.metrics import Score, Scoring
from fedtp_jax.learning.task import STATISTICS


class _Carry(NamedTuple):
    client: Adapting
    score: Score


def adapted_work(
    predict: Predict, scoring: Scoring, steps: AdaptationSteps, trains: Collection[str]
) -> ClientWork:
    """Train a copy of the leaves `trains` (all passes but the last), then test with it, and forget it.

    Numbers that are not finite stay: such a client is right in nothing.
    """

    def runs(shared: Leaves, row: Row) -> Leaves:
        return {**shared, **row.leaves}

    def start(shared: Leaves, row: Row, key: jax.Array) -> _Carry:
        own = {path: leaf for path, leaf in runs(shared, row).items() if path in trains}
        return _Carry(steps.start(own), scoring.zero())

    def step(shared: Leaves, row: Row, carry: _Carry, batch: Batch, key: jax.Array) -> _Carry:
        def everything(own: Leaves) -> Leaves:
            return {**runs(shared, row), **own}

        def train(carry: _Carry) -> _Carry:
            return carry._replace(client=steps.step(everything, carry.client, batch, key))

        def test(carry: _Carry) -> _Carry:
            logits = predict(everything(carry.client.own), batch.x).logits
            return carry._replace(score=scoring.add(carry.score, logits, batch))

        # a single lane does the one or the other; lanes side by side do both, of which one counts
        return jax.lax.cond(batch.step < row.facts.last_pass, train, test, carry)

    def finish(shared: Leaves, row: Row, carry: _Carry) -> tuple[None, Score]:
        return None, carry.score

    return ClientWork(start, step, finish)


class AdaptedEvaluator(Evaluator):
    """Evaluates clients after each has trained as evaluation.adapt says, all of them in one program.

    The batches are functions of the seed and the client alone: those of every evaluation are the same. As any
    evaluation it gives an example of a client with noise the same noise in each step.

    Args:
      roles: {path: role} of the leaves that clients train or run.
      arguments: of `Evaluator`.

    Raises UserError where a client has no train example, or `evaluation.adapt.leaves` name nothing to train.
    """

    def __init__(self, roles: Mapping[str, Any], *arguments: Any, **options: Any) -> None:
        self._roles = roles
        super().__init__(*arguments, **options)

    def _make_work(self, predict: Predict) -> ClientWork:
        self.program, self._adapt = "adapt and evaluate", self.settings.adapt
        without = self.clients[self.bench.partition.train.sizes[self.clients] == 0]
        if len(without):
            raise UserError(
                f"evaluation.adapt: client {without[0]} is tested, but has no train example to adapt to; "
                "give it one, or leave evaluation.adapt out"
            )
        run = [path for leaves in self._variables_of_one for path in leaves if path in self._roles]
        trains = tree.matching(run, self._adapt.leaves, "evaluation.adapt.leaves")
        if all(path.startswith(STATISTICS) for path in trains):
            raise UserError(
                f"evaluation.adapt.leaves: {list(self._adapt.leaves)} name no parameter, so there is nothing "
                "to train; name some, or leave it out"
            )
        rate = self._adapt.learning_rate or self.task.training.learning_rate
        return adapted_work(predict, self._scoring, adaptation(self.task, predict, rate), trains)

    def _batch_size(self) -> int:
        """That of the training: the steps are optimizer steps."""
        sizes = self.bench.partition.train.sizes[self.clients]
        return min(self.task.training.batch_size, int(sizes.max()))

    def _steps(self, batch: int) -> np.ndarray:
        passes = steps_of(self.bench.partition.train.sizes[self.clients], batch)
        steps = passes * self._adapt.epochs if self._adapt.epochs else np.full_like(passes, self._adapt.steps)
        return np.asarray(steps + super()._steps(batch))

    def _batches(self, client: int) -> Batches:
        batch, adapt = self.layout.batch, self._adapt
        order = rng.generator(self.bench.config.seed, rng.Purpose.ADAPTATION, client)
        shard = self.bench.train_positions(client)
        trained = shuffled_batches(shard, adapt.epochs or 1, batch, order, adapt.steps)
        return join_batches([trained, super()._batches(client)])
