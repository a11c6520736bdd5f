"""What is counted is exact, however much there is: beyond 2^24, where float32 stops counting, and 2^31."""

import copy
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from ragged_clients import make_simulator

from fedtp_jax.engine.lanes import Batch
from fedtp_jax.evaluation.metrics import Score, Scoring, summarize
from fedtp_jax.learning.targets import Targets
from fedtp_jax.results.run_tables import clients_table

SCORING = Scoring(Targets())
RIGHT = np.array([2**24 + 1, 2**31 + 1, 2**32 - 1], np.uint32)
SIZES = np.array([2**24 + 3, 2**31 + 3, 2**32 + 1])


def batch(y, mask):
    y = jnp.asarray(y, jnp.int32)
    nothing = jnp.zeros(len(y), jnp.int32)
    return Batch(nothing, y, jnp.asarray(mask, jnp.float32), nothing[0], nothing)


def test_right_labels_are_counted_one_by_one():
    one = jax.jit(SCORING.add)
    logits = jnp.array([[9.0, 0.0], [9.0, 0.0], [9.0, 0.0], [jnp.nan, 0.0]])
    for before in (0, 2**24, 2**31 - 1, 2**32 - 2):
        score = one(Score(jnp.uint32(before), jnp.zeros(())), logits, batch([0, 1, 0, 0], [1, 1, 0, 1]))
        assert int(score.measured) == before + 1


def test_characters_of_windows_are_counted_one_by_one():
    logits = jnp.array([[[9.0, 0.0]] * 3, [[0.0, 9.0]] * 3])
    score = SCORING.add(SCORING.zero(), logits, batch([[0, 0, 1], [1, 1, 1]], [1, 0]))
    assert int(score.measured) == 2


def test_an_evaluation_of_any_size_is_exact():
    partition = SimpleNamespace(
        test=SimpleNamespace(sizes=SIZES), train=SimpleNamespace(sizes=SIZES), num_clients=3
    )
    sits, score = SimpleNamespace(ids=np.array([2, 0, 3, 1])), Score(RIGHT[[2, 0, 0, 1]], np.ones(4))
    evaluator = copy.copy(make_simulator("fedavg").evaluators.test)
    evaluator.bench = SimpleNamespace(
        config=evaluator.bench.config,
        num_clients=3,
        partition=partition,
        examples=SimpleNamespace(labels=1),
        over_waves=lambda *arguments: [(sits, score)],
    )
    sums = evaluator(None, None, waves=[])
    assert summarize(sums).pooled == sum(map(int, RIGHT)) / sum(map(int, SIZES))
    trained = np.ones(len(SIZES), np.int32)
    table = clients_table({"test": sums}, [RIGHT / SIZES], partition, [{"excluded_clients": ""}], trained)
    assert table["test_correct"].tolist() == RIGHT.tolist()
    assert table["test_examples"].tolist() == SIZES.tolist()
    assert table["test_accuracy"].tolist() == (RIGHT / SIZES).tolist()
