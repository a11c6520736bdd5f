"""Clients tested on their own train shards."""

import numpy as np
import pandas as pd
import pytest
from other_tasks import run

from fedtp_jax import UserError, simulate
from fedtp_jax.config.data import Digits
from fedtp_jax.config.load import from_dict
from fedtp_jax.data.sources import load
from fedtp_jax.results.summary import result_as_json

GIVEN = {
    "partition": {"name": "dirichlet", "clients": 6, "alpha": 0.5, "validation": 0.2},
    "model": {"name": "mlp", "hidden": 8, "layers": 1, "dropout": 0.5},
    "method": "fedper",
    "training": {"rounds": 4, "cohort_size": 3, "learning_rate": 0.1},
    "evaluation": {"every": 2, "metrics": ["f1_macro"], "clients_history": True},
    "engine": {"devices": 1},
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    given = {**GIVEN, "evaluation": {**GIVEN["evaluation"], "fit": True}}
    folder = tmp_path_factory.mktemp("fit") / "run"
    return simulate(**given, out=folder), folder


def test_it_is_what_each_client_predicts_of_its_train_shard(fitted):
    result, _ = fitted
    data, right, examples = load(Digits()), 0, 0
    for k in range(6):
        shard = result.partition.train[k]
        labels = np.argmax(result.predict(k, data.train.x[shard]), axis=1) == data.train.y[shard]
        assert result.clients["fit_accuracy"][k] == pytest.approx(labels.mean())
        right, examples = right + labels.sum(), examples + len(shard)
    last = result.history.iloc[-1]
    assert last["fit_accuracy"] == pytest.approx(right / examples)
    assert last["fit_client_mean"] == pytest.approx(result.clients["fit_accuracy"].mean())
    assert result.clients["fit_f1_macro"].between(0, 1).all() and last["fit_loss"] > 0
    assert result.history["fit_accuracy"].notna().tolist() == [False, True, False, True]


def test_nothing_else_changes(fitted):
    plain = simulate(**GIVEN)
    others = [name for name in fitted[0].history if not name.startswith("fit_")]
    pd.testing.assert_frame_equal(plain.history, fitted[0].history[others])


def test_where_it_is_told(fitted):
    result, folder = fitted
    last = result.history["fit_accuracy"].iloc[-1]
    assert result_as_json(result, folder)["fit_accuracy"] == last
    assert f"<td>{100 * last:.2f}%" in (folder / "report.html").read_text()
    assert {"fit_accuracy", "fit_loss"} <= {*pd.read_csv(folder / "clients_history.csv")}


def test_errors_too():
    result = run("regression", evaluation={"every": 2, "fit": True})
    assert np.isfinite(result.history["fit_mae"].iloc[-1])


def test_every_train_example_is_its_own_neighbour():
    with pytest.raises(UserError, match="every example is its own nearest neighbour"):
        from_dict({"evaluation": {"fit": True, "knn": {"weight": 0.5}}})
