"""Clients that never trained: what they run, how they are counted, and that no mean of rows holds theirs."""

import dataclasses
import pickle

import jax
import numpy as np
import pytest
from tiny_run import TINY

from fedtp_jax import Result, UserError, config, simulate
from fedtp_jax.data.sources import load
from fedtp_jax.results.summary import result_in_words

METHODS = {"pfedme": config.PFedMe(inner_steps=2), "vanilla": config.Vanilla(), "fedtp": TINY.method}
RUN = dataclasses.replace(
    TINY,
    training=config.Training(rounds=2, cohort_size=2, batch_size=64, held_out=1),
    evaluation=config.Evaluation(every=1),
)


@pytest.fixture(scope="module", params=METHODS)
def run(request, tmp_path_factory, sharing):
    path = tmp_path_factory.mktemp("untrained") / "run"
    settings = dataclasses.replace(RUN, method=METHODS[request.param])
    return request.param, simulate(settings, out=path), path


def test_the_tables_give_both_groups_apart(run):
    _, result, _ = run
    clients, last = result.clients, result.history.iloc[-1]
    assert clients["trained_rounds"].sum() == 2 * 2
    tested, trained = (
        clients["test_examples"].where(clients["test_accuracy"].notna(), 0),
        clients["trained_rounds"] > 0,
    )
    assert last["clients_untrained"] == ((tested > 0) & ~trained).sum() > 0
    for group, column in ((trained, "test_accuracy_trained"), (~trained, "test_accuracy_untrained")):
        expected = clients["test_correct"][group].sum() / tested[group].sum()
        assert last[column] == pytest.approx(expected)
    words = f"{int(last['clients_untrained'])} of 5 clients have never trained: test accuracy "
    assert words in result_in_words(result)


def test_they_run_what_they_would_get_now(run):
    name, result, _ = run
    never = int(np.flatnonzero(result.state.rows.trained == 0)[0])
    leaves, shared = result._leaves(never), result.state.shared
    own = {"pfedme": [], "vanilla": ["query", "key", "value"], "fedtp": ["query", "key", "value"]}[name]
    for path, leaf in leaves.items():
        if not any(f"/{part}/" in path for part in own):
            np.testing.assert_array_equal(leaf, shared[path], err_msg=path)


def test_the_mean_client_is_of_those_that_trained(run):
    name, result, _ = run
    trained = np.flatnonzero(result.state.rows.trained)
    reached = result.personalize_held_out(load(result.config.data), modes=["zero_shot"])
    assert reached.mean_of == len(trained) < 5
    rows = result.state.rows.take(trained)
    found = reached._adapted["zero_shot"].leaves(0)
    for path, leaf in rows.items():
        if path in found:
            np.testing.assert_allclose(found[path], leaf.mean(0), rtol=1e-5, atol=1e-6, err_msg=path)
    if name == "pfedme":
        assert "client/has_trained" not in found


def test_who_has_trained_travels_and_is_kept(run):
    _, result, path = run
    for other in (pickle.loads(pickle.dumps(result)), Result.load(path)):
        np.testing.assert_array_equal(other.state.rows.trained, result.state.rows.trained)
        assert jax.tree.all(jax.tree.map(np.array_equal, other.variables(0), result.variables(0)))


def test_without_anybody_who_trained_there_is_no_mean_client():
    nobody = config.Participation(minimum=2, dropout=0.999)
    training = dataclasses.replace(RUN.training, rounds=1, participation=nobody)
    result = simulate(dataclasses.replace(RUN, method=config.Vanilla(), training=training))
    assert result.history["clients_untrained"].tolist() == [5]
    with pytest.raises(UserError, match="no client has trained yet"):
        result.personalize_held_out(load(RUN.data))
