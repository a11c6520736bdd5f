"""Regression and several labels: beside plain NumPy, and scikit-learn."""

import numpy as np
import pytest
from other_tasks import DATA, SITES, TRAINING, X, Y, of_clients, run
from sklearn.metrics import f1_score, mean_absolute_error, r2_score, roc_auc_score, root_mean_squared_error

from fedtp_jax import from_arrays
from fedtp_jax.config.task import LOSSES
from fedtp_jax.engine.lanes import Batch
from fedtp_jax.evaluation.collection import Collection
from fedtp_jax.evaluation.measures import OF_LABELS
from fedtp_jax.evaluation.metrics import Scoring, Sums, summarize
from fedtp_jax.evaluation.parts import Predictions
from fedtp_jax.learning.targets import Targets

CASES = [(kind, loss) for kind in Y for loss in LOSSES[kind]]
ROUNDS, RATE = TRAINING["rounds"], TRAINING["learning_rate"]


def federated_linear(kind, loss):
    """FedAvg of linear models from zero, each client one step a round on all its examples; a plain loop."""
    data = DATA[kind]
    mean, std = (data.train.y.mean(0), data.train.y.std(0)) if kind == "regression" else (0, 1)
    w, b = np.zeros((5, data.num_classes)), np.zeros(data.num_classes)
    for _ in range(ROUNDS):
        returned = []
        for x, y in of_clients(data.train):
            gap = x @ w + b - (y - mean) / std
            by_output = {
                "squared_error": 2 * gap,
                "absolute_error": np.sign(gap),
                "binary_cross_entropy": 1 / (1 + np.exp(-(x @ w + b))) - y,
            }
            gradient = by_output[loss] / gap.size
            returned.append((len(x), w - RATE * x.T @ gradient, b - RATE * gradient.sum(0)))
        shares = np.array([count for count, *_ in returned]) / len(data.train)
        w, b = (sum(p * part[k] for p, part in zip(shares, returned, strict=True)) for k in (1, 2))
    return lambda x: (x @ w + b) * std + mean


def losses_of(loss, y, predicted, std):
    if loss == "binary_cross_entropy":
        return np.logaddexp(0, predicted) - y * predicted
    gap = (predicted - y) / std
    return gap**2 if loss == "squared_error" else np.abs(gap)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case[1])
def trained(request):
    kind, loss = request.param
    zero = {"params": {"head": {"kernel": np.zeros((5, DATA[kind].num_classes), np.float32)}}}
    zero["params"]["head"]["bias"] = np.zeros(DATA[kind].num_classes, np.float32)
    return kind, loss, run(kind, loss, init=zero)


def test_it_learns_as_a_plain_loop_does(trained):
    kind, loss, result = trained
    predict = federated_linear(kind, loss)
    np.testing.assert_allclose(result.predict(0, X[:7]), predict(X[:7]), rtol=1e-4, atol=1e-4)


def test_tables_say_what_scikit_learn_says(trained):
    kind, loss, result = trained
    data, predict = DATA[kind], federated_linear(kind, loss)
    row, tables = result.history.iloc[-1], result.clients
    std = data.train.y.std(0) if kind == "regression" else 1
    for x, y, found in [
        *((x, y, tables.iloc[k]) for k, (x, y) in enumerate(of_clients(data.test))),
        (data.test.x, data.test.y, row),
    ]:
        predicted = predict(x)
        expected = {"loss": losses_of(loss, y, predicted, std).mean()}
        if kind == "regression":
            expected |= {
                "mae": mean_absolute_error(y, predicted),
                "rmse": root_mean_squared_error(y, predicted),
                "r2": r2_score(y, predicted),
            }
        else:
            both = [c for c in range(3) if 0 < y[:, c].sum() < len(y)]
            said = (predicted > 0).astype(int)
            known = [c for c in range(3) if y[:, c].any() or said[:, c].any()]
            expected |= {
                "accuracy": (said == y).mean(),
                "exact_match": (said == y).all(1).mean(),
                "f1_macro": f1_score(y[:, known], said[:, known], average="macro"),
                "auroc": np.mean([roc_auc_score(y[:, c], predicted[:, c]) for c in both]),
            }
        for name, value in expected.items():
            assert found[f"test_{name}"] == pytest.approx(value, rel=2e-4, abs=1e-5), name


def test_the_worst_clients_of_errors_are_those_with_the_largest(trained):
    kind, _, result = trained
    headline, worst = ("mae", "max") if kind == "regression" else ("accuracy", "min")
    prefix = "test_mae_" if kind == "regression" else "test_"
    row, of = result.history.iloc[-1], result.clients[f"test_{headline}"]
    assert row[f"{prefix}worst_decile"] == getattr(of, worst)()
    assert row[f"{prefix}client_mean"] == pytest.approx(of.mean())
    measured = result.error if kind == "regression" else result.accuracy
    assert measured["last"] == row[f"test_{headline}"]
    assert measured["worst_decile"] == row[f"{prefix}worst_decile"]


def test_predictions_that_are_not_finite_are_infinitely_wrong():
    scoring = Scoring(Targets("regression", "squared_error", (0.0,), (2.0,)))
    ones = np.ones(2, np.float32)
    batch = Batch(ones, np.zeros((2, 1), np.float32), ones, np.int32(0), np.zeros(2, np.int32))
    good = scoring.add(scoring.zero(), np.array([[1.0], [-2.0]], np.float32), batch)
    assert float(good.measured) == 6.0
    bad = scoring.add(good, np.array([[1.0], [np.nan]], np.float32), batch)
    sums = Sums(np.array([6.0, float(bad.measured)]), np.ones(2), np.full(2, 2.0), headline="mae")
    tested = summarize(sums)
    assert (tested.pooled, tested.client_mean, tested.worst_decile) == (np.inf, np.inf, np.inf)


def test_a_function_of_ones_own_is_given_numbers_as_the_data_have_them():
    def median_error(numbers, predicted):
        assert numbers.shape == predicted.shape
        return float(np.median(np.abs(numbers - predicted)))

    median_error.higher_is_better = False
    result = run("regression", evaluation={"every": 4, "metrics": [median_error]})
    x, y = of_clients(DATA["regression"].test)[2]
    gap = np.abs(np.asarray(result.predict(2, x), np.float64) - y)
    assert result.clients["test_median_error"][2] == pytest.approx(np.median(gap), rel=1e-4)


@pytest.mark.parametrize("offset", [0, 1e9])
def test_numbers_are_the_data_s_own_however_far_from_zero(offset):
    """Whole numbers stay whole for functions of one's own, and what is predicted keeps its digits."""
    whole = np.round(Y["regression"][:, 0]).astype(int) + int(offset)
    seen = []

    def right(numbers, predicted):
        seen.append(numbers.copy())
        return float(np.mean(np.round(predicted) == numbers))

    data = from_arrays(X, whole, task="regression", groups=SITES, standardize="none")
    result = run("regression", data=data, evaluation={"every": 4, "metrics": [right]})
    of_data = seen[2:]  # after what is made up to try the function
    assert all((numbers % 1 == 0).all() for numbers in of_data) and len(of_data) > 4
    x, y = of_clients(data.test)[1]
    gap = np.abs(result.predict(1, x) - y)
    assert result.clients["test_mae"][1] == pytest.approx(gap.mean(), rel=1e-4)


def test_a_function_that_alters_what_it_is_given_spoils_nothing_else():
    def spoils(labels, scores):
        labels[:], scores[:] = 0, 0
        return 1.0

    plain = run("multilabel", evaluation={"every": 4, "metrics": ["auroc", "exact_match"]})
    spoilt = run("multilabel", evaluation={"every": 4, "metrics": [spoils, "auroc", "exact_match"]})
    for name in ("test_auroc", "test_exact_match"):
        assert spoilt.history[name].iloc[-1] == plain.history[name].iloc[-1]


def test_what_is_not_finite_has_no_measure_of_several_labels():
    made = Collection(OF_LABELS, 1, Targets("multilabel", "binary_cross_entropy"), None)
    logits = np.array([[[np.inf, 1.0], [1.0, -1.0]]], np.float32)
    kept = Predictions(np.array([2]), np.ones((1, 2, 2), np.float32), logits)
    made.add(np.array([0]), {"Predictions": kept})
    assert all(np.isnan(values.pooled) for values in made.values().values())
