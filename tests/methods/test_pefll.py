"""PeFLL beyond its rule: clients that never trained, what is kept of a run, the words of its modes."""

import numpy as np
import pytest
from commands import fedtp

from fedtp_jax import Result, SimulationConfig, config, load_data, simulate
from fedtp_jax.core import tree
from fedtp_jax.learning.method import EMBEDDING

SETTINGS = SimulationConfig(
    partition=config.Pathological(clients=7, classes_per_client=2),
    model=config.Vit(patch_size=4, dim=8, depth=1, heads=2, dim_head=4, mlp_dim=8),
    method=config.PeFLL(
        kernels=2, hypernetwork=config.DescribingHypernetwork(embedding=4, hidden=6, layers=1)
    ),
    training=config.Training(rounds=2, cohort_size=3, held_out=2, learning_rate=0.1, batch_size=64),
    evaluation=config.Evaluation(every=2, last=1, clients=3),
    checkpoint=config.Checkpoint(every=1),
    engine=config.Engine(devices=1),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(result, folder): two clients never train, and of the others three are evaluated."""
    path = tmp_path_factory.mktemp("pefll") / "run"
    return simulate(SETTINGS, out=path), path


def test_every_clients_embedding_is_that_of_its_examples_in_the_end(run):
    """Of those that never trained, or are not evaluated, too; each has its own."""
    result, path = run
    rows = result.state.rows.take(np.arange(7))[EMBEDDING]
    assert len(np.unique(rows, axis=0)) == 7
    again = Result.load(path).state.rows.take(np.arange(7))[EMBEDDING]
    np.testing.assert_array_equal(rows, again)


def test_who_never_trained_runs_what_its_own_examples_give(run):
    result, _ = run
    reached = result.personalize_held_out(load_data("digits"), modes=["zero_shot"])
    assert reached.trained_parameters == {"zero_shot": 0}
    for row, client in enumerate(reached.clients["client"]):
        found, expected = (
            tree.flatten(one) for one in (reached.variables(row, "zero_shot"), result.variables(int(client)))
        )
        assert set(found) == set(expected)
        for path, leaf in found.items():
            np.testing.assert_allclose(leaf, expected[path], atol=1e-6, err_msg=path)


def test_fine_tuning_starts_there_and_fitting_moves_the_embedding(run):
    reached = run[0].personalize_held_out(load_data("digits"))
    assert list(reached.reached) == ["zero_shot", "fit", "fine_tune", "local"]
    assert reached.trained_parameters["fit"] == 4
    zero, fit = (tree.flatten(reached.variables(0, mode)) for mode in ("zero_shot", "fit"))
    assert any(not np.array_equal(zero[path], fit[path]) for path in zero)


def test_the_words_are_those_of_what_it_does(run, capsys):
    code, out, _ = fedtp(capsys, "novel", str(run[1]), "--modes", "zero_shot")
    assert code == 0
    assert "zero_shot: what the hypernetwork makes of the client's own examples" in out
    assert "mean client" not in out
