"""Measures beside accuracy: each is what scikit-learn says of the kept predictions, pooled and by client."""

import warnings

import jax
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as oracle
from measured_run import CLASSES, LOWER, NAMES, SETTINGS
from ragged_clients import make_simulator

from fedtp_jax import UserError, config, load_data, simulate
from fedtp_jax.config.metrics import FURTHER, HEADLINES, METRICS, columns_of
from fedtp_jax.engine.lanes import Batch
from fedtp_jax.evaluation.measures import BY_TASK, MEASURES, TITLES
from fedtp_jax.evaluation.metrics import Scoring
from fedtp_jax.evaluation.parts import Bins, Confusion, Predictions, Sizes, Top
from fedtp_jax.learning.targets import Targets


def softmax(logits):
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def calibration_error(labels, scores):
    """Guo et al. (2017), equation (3), bin by bin."""
    found, error = scores.argmax(1), 0.0
    for low in range(15):
        inside = (scores.max(1) > low / 15) & (scores.max(1) <= (low + 1) / 15)
        if inside.any():
            right = (found == labels)[inside].mean()
            error += inside.mean() * abs(right - scores.max(1)[inside].mean())
    return error


def one_against_the_rest(labels, scores):
    """scikit-learn's AUROC of each class that occurs beside others, and their mean."""
    classes = [c for c in CLASSES if 0 < (labels == c).sum() < len(labels)]
    each = [oracle.roc_auc_score(labels == c, scores[:, c]) for c in classes]
    return np.mean(each) if each else np.nan


def expected(labels, logits):
    scores = softmax(np.asarray(logits, np.float64))
    found = scores.argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that do not occur
        return {
            "balanced_accuracy": oracle.balanced_accuracy_score(labels, found),
            "f1_macro": oracle.f1_score(labels, found, average="macro"),
            "auroc": one_against_the_rest(labels, scores),
            "top5": oracle.top_k_accuracy_score(labels, scores, k=5, labels=CLASSES),
            "ece": calibration_error(labels, scores),
            "brier": oracle.brier_score_loss(labels, scores, labels=CLASSES, scale_by_half=False),
            "rare": scores[:, 2].mean() if 2 in labels else np.nan,
        }


def predictions(result, shards, split):
    """{client: (labels, logits)} of those that have examples in these shards."""
    data = getattr(load_data("digits"), split)
    shards = {client: shards[client] for client in range(6) if len(shards[client])}
    return {k: (data.y[at], np.asarray(result.predict(k, data.x))[at]) for k, at in shards.items()}


@pytest.mark.parametrize("test", ["test", "val"])
def test_each_is_what_scikit_learn_says_of_the_predictions(test, measured):
    result, *_ = measured
    shards = result.partition.test if test == "test" else result.partition.validation
    kept = predictions(result, shards, "test" if test == "test" else "train")
    of_clients = pd.DataFrame({client: expected(*one) for client, one in kept.items()}).T.reindex(range(6))
    pooled = expected(*(np.concatenate(part) for part in zip(*kept.values(), strict=True)))
    last = result.history.iloc[-1]
    for name in NAMES:
        each = of_clients[name]
        np.testing.assert_allclose(result.clients[f"{test}_{name}"], each, atol=2e-6, err_msg=name)
        worst = each.max() if name in LOWER else each.min()
        values = pooled[name], each.mean(), each.std(ddof=0), worst
        columns = [f"{test}_{column}" for column in columns_of(name)]
        np.testing.assert_allclose(last[columns].astype(float), values, atol=2e-6, err_msg=name)


def test_what_is_not_defined_is_out_of_the_statistics(measured):
    result, *_ = measured
    clients, last = result.clients, result.history.iloc[-1]
    assert clients["test_auroc"].isna().tolist() == [True, True, False, False, False, True]
    assert clients["test_f1_macro"].isna().tolist() == [True] + [False] * 5
    assert 2 not in load_data("digits").test.y[result.partition.test[1]]
    assert clients["test_rare"].isna()[[0, 1]].all()
    assert last["test_auroc_client_mean"] == pytest.approx(clients["test_auroc"].mean())


def test_columns_stand_after_the_loss_and_all_else_is_as_without(measured):
    result, *_ = measured
    evaluation = {**SETTINGS["evaluation"], "metrics": ["accuracy"], "clients_history": False}
    without = simulate(**{**SETTINGS, "evaluation": evaluation})
    new = [f"{test}_{c}" for test in ("test", "adapted", "val") for name in NAMES for c in columns_of(name)]
    assert [name for name in result.history if name not in without.history] == new
    assert list(result.history)[list(result.history).index("test_loss") + 1] == "test_balanced_accuracy"
    of_clients = [f"{test}_{name}" for test in ("test", "adapted", "val") for name in NAMES]
    assert [name for name in result.clients if name not in without.clients] == of_clients
    pd.testing.assert_frame_equal(result.history[[*without.history]], without.history)
    assert without.clients_history is None
    assert list(without.measures["measure"]) == ["accuracy"] * 3


def test_adapted_clients_are_measured_too(measured):
    result, *_ = measured
    names = [f"adapted_{name}" for name in NAMES]
    known, both = result.clients[names].notna(), result.clients[[f"test_{name}" for name in NAMES]].notna()
    assert (known.to_numpy() == both.to_numpy()).all()
    assert not np.isclose(result.clients["adapted_brier"], result.clients["test_brier"]).any()


def test_confusions_are_scikit_learns(measured):
    result, path, _ = measured
    kept = predictions(result, result.partition.test, "test")
    labels, logits = (np.concatenate(part) for part in zip(*kept.values(), strict=True))
    found = logits.argmax(1)
    table = result.confusion()
    assert (table.index.name, table.columns.name) == ("label", "predicted")
    np.testing.assert_array_equal(table, oracle.confusion_matrix(labels, found, labels=CLASSES))
    assert np.trace(result.confusion(3)) == result.clients["test_correct"][3]
    assert result.confusion(0).to_numpy().sum() == 0
    names = "precision", "recall", "f1"
    parts = oracle.precision_recall_fscore_support(labels, found, labels=CLASSES, zero_division=np.nan)
    classes = result.classes()
    np.testing.assert_allclose(classes[[*names]], np.transpose(parts[:3]))
    assert classes["test_examples"].tolist() == parts[3].tolist()
    written = pd.read_csv(path / "classes.csv")
    pd.testing.assert_frame_equal(written, classes)
    with pytest.raises(UserError, match="client: got 6, expected a whole number from 0 to 5"):
        result.confusion(6)


# --------------------------------------------------------------------------------------------- on any layout

FEW = ("balanced_accuracy", "f1_macro", "auroc", "ece")
EVALUATIONS = {
    "plain": ("fedavg", {}),
    "neighbours": ("vanilla", {"knn": config.Knn(weight=0.6, neighbors=3)}),
    "adapted": ("fedavg", {"adapt": config.Adapt(steps=2)}),
}


@pytest.mark.parametrize("kind", EVALUATIONS)
def test_a_layout_changes_nothing(kind):
    name, fields = EVALUATIONS[kind]
    evaluation = config.Evaluation(batch_size=4, metrics=FEW, **fields)
    evaluated = []
    for layout in ({}, {"lanes": 3}, {"devices": 2, "lanes": 2, "wave_size": 4}):
        simulator = make_simulator(name, evaluation=evaluation, **layout)
        evaluator = simulator.evaluators.adapted or simulator.evaluators.test
        evaluated.append(simulator.evaluate(simulator.init(), evaluator=evaluator))
    first = evaluated[0]
    assert first.counts.sum() == first.examples.sum() == 21
    assert np.trace(first.counts) == first.measured.sum()
    for other in evaluated[1:]:
        np.testing.assert_array_equal(other.counts, first.counts)
        for measure in FEW:
            for a, b in zip(other.measures[measure], first.measures[measure], strict=True):
                np.testing.assert_allclose(a, b, atol=1e-6)


# ---------------------------------------------------------------------------------------------------- units


def scored(kind, logits, labels, mask, classes=7):
    scoring = Scoring(Targets(), Sizes(classes, 8), (kind,))
    nothing = np.zeros(len(mask), np.int32)
    batch = Batch(nothing, np.asarray(labels, np.int32), np.asarray(mask, np.float32), nothing[0], nothing)
    logits = jax.numpy.asarray(logits, jax.numpy.float32)
    return scoring.add(scoring.add(scoring.zero(), logits, batch), logits, batch).parts[kind.__name__]


def test_predictions_that_are_not_finite_are_right_in_nothing_and_are_no_scores():
    logits, labels = np.zeros((3, 7)), [0, 0, 6]
    logits[0, 3] = np.nan
    confusion = scored(Confusion, logits, labels, [1, 1, 0])
    assert confusion.counts[0, 7] == 2 and confusion.counts[0, 0] == 2 and confusion.counts.sum() == 4
    top = scored(Top, logits, labels, [1, 1, 0])
    assert (int(top.examples), int(top.right)) == (4, 2)
    assert np.isnan(MEASURES["ece"].of(scored(Bins, logits, labels, [1, 1, 0])))
    logits[0, 3] = -np.inf  # a class that it excludes
    assert np.isfinite(MEASURES["ece"].of(scored(Bins, logits, labels, [1, 1, 0])))


def test_predictions_are_kept_one_after_the_other():
    logits = np.arange(21.0).reshape(3, 7)
    kept = scored(Predictions, logits, [4, 5, 6], [1, 0, 1])
    assert int(kept.examples) == 4
    assert kept.labels.tolist() == [4, 6, 4, 6, 0, 0, 0, 0]
    np.testing.assert_array_equal(kept.logits[:4], logits[[0, 2, 0, 2]])


def test_of_equal_classes_the_first_come_first():
    top = scored(Top, np.zeros((2, 7)), [4, 5], [1, 1])
    assert int(top.right) == 2  # as in two batches


def test_each_character_of_a_window_counts():
    evaluation = config.Evaluation(metrics=("f1_macro", "ece"))
    simulator = make_simulator("fedper on text", evaluation=evaluation)
    sums = simulator.evaluate(simulator.init())
    assert sums.counts.sum() == 5 * sums.examples.sum()
    assert np.trace(sums.counts) == pytest.approx(5 * sums.measured.sum())
    labels = np.repeat(np.arange(4), sums.counts.sum(1).astype(int))
    found = np.concatenate([np.repeat(np.arange(4), row[:4].astype(int)) for row in sums.counts])
    f1 = oracle.f1_score(labels, found, average="macro")
    assert sums.measures["f1_macro"].pooled == pytest.approx(f1)
    with pytest.raises(UserError, match="auroc needs all of a client's predictions, of which text has one"):
        make_simulator("fedper on text", evaluation=config.Evaluation(metrics=("auroc",)))


def test_each_name_has_a_measure():
    assert {task: (*measures,) for task, measures in BY_TASK.items()} == FURTHER
    assert {*TITLES, *HEADLINES.values()} == {*METRICS}
