"""Clients tested on images with an adversary's trigger: how often these are taken for its target."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from fedtp_jax.config.metrics import attack_columns
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.evaluation.evaluate import Evaluator, Predict, evaluation_work
from fedtp_jax.evaluation.metrics import Score, Sums, summarize


def beside_adversaries(
    sums: Mapping[str, Sums], evaluated: np.ndarray, adversaries: np.ndarray
) -> dict[str, float]:
    """{column: value} of the honest ones among the clients `evaluated` [K]; by the evaluators' names.

    attack_success: of their test examples of other classes that carry the trigger, the share that is taken
    for the target.
    """
    columns = attack_columns(sums["test"].headline, "attacked" in sums)
    honest = np.setdiff1d(evaluated, adversaries)
    if not (sums["test"].examples[honest] > 0).any():
        return dict.fromkeys(columns, float("nan"))
    test = summarize(sums["test"], honest)
    values = [test.pooled, test.client_mean, test.worst_decile]
    if "attacked" in sums:
        attacked = summarize(sums["attacked"], honest)
        values += [attacked.pooled, attacked.client_mean]
    return dict(zip(columns, values, strict=True))


class AttackedEvaluator(Evaluator):
    """Counts test examples of other classes that a client takes for the target once they carry the trigger.

    Args:
      trigger: with `on` (images -> images) and `target`.
      arguments: of `Evaluator`.
    """

    def __init__(self, trigger: Any, *arguments: Any, **options: Any) -> None:
        self._trigger = trigger
        super().__init__(*arguments, **options)

    def _make_work(self, predict: Predict) -> ClientWork:
        self.program, scoring, trigger = "evaluate attacked", self._scoring, self._trigger

        def step(shared: Any, row: Row, carry: Score, batch: Batch, key: Any) -> Score:
            logits = predict({**shared, **row.leaves}, trigger.on(batch.x)).logits
            others = jnp.where(batch.y != trigger.target, batch.mask, 0.0)
            return scoring.add(carry, logits, batch._replace(y=0 * batch.y + trigger.target, mask=others))

        return evaluation_work(predict, scoring)._replace(step=step)

    def __call__(self, *arguments: Any, **options: Any) -> Sums:
        """Sums over each client's test examples of other classes than the target."""
        sums, examples = super().__call__(*arguments, **options), np.zeros(self.bench.num_clients)
        for client in self.clients.tolist():
            examples[client] = np.sum(self._labels_of(client) != self._trigger.target)
        return sums._replace(examples=examples)
