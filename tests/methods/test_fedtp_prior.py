"""FedTP with class priors: what makes it FedTP, or FedAvg, and what a client knows of its classes, when."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_run import TINY

from fedtp_jax import UserError, config, from_arrays, simulate
from fedtp_jax.data.sources import load
from fedtp_jax.learning.roles import zeros
from fedtp_jax.methods import Counted, make_method, role_method
from fedtp_jax.methods.fedtp_prior import PRIOR

DATA = load(TINY.data)
SMALL = config.BasedHypernetwork(embedding=4, hidden=6, layers=1)
TRAINING = config.Training(
    rounds=3, cohort_size=3, batch_size=64, learning_rate=0.1, weight_decay=0.1, held_out=2
)
SETTINGS = dataclasses.replace(
    TINY,
    partition=config.Dirichlet(clients=8, alpha=0.5, min_size=1),
    method=config.FedTPPrior(smoothing=0.5, hypernetwork=SMALL),
    training=TRAINING,
    evaluation=config.Evaluation(every=3),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prior") / "run"
    return simulate(SETTINGS, out=folder), folder


def everything(result):
    rows = result.state.rows.take(np.arange(8))
    return jax.tree.leaves(jax.device_get(result.state._replace(rows=rows)))


def log_shares(counts):
    held = counts + 0.5
    return np.log(held / held.sum(-1, keepdims=True))


def test_by_its_options_it_is_fedtp_bit_for_bit():
    hypernetwork = config.Hypernetwork(embedding=4, hidden=6, layers=1)
    as_fedtp = config.FedTPPrior(
        generated=config.QKV,
        smoothing=None,
        hypernetwork=config.BasedHypernetwork(**vars(hypernetwork)),
    )
    fedtp = config.FedTP(hypernetwork=hypernetwork)
    one, other = (
        everything(simulate(dataclasses.replace(SETTINGS, method=method))) for method in (fedtp, as_fedtp)
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_with_nothing_generated_and_equal_shares_it_is_fedavg():
    """The same number added to every logit changes nothing."""
    y, groups = np.tile(np.arange(5).repeat(3), 8), np.arange(120) // 15  # three of each class for everybody
    x = DATA.train.x[:120]
    data = from_arrays(x, y, x, y, groups=groups, groups_test=groups)
    settings = dataclasses.replace(SETTINGS, partition=config.Natural())
    one, other = (
        simulate(dataclasses.replace(settings, method=method), data=data)
        for method in (config.FedAvg(), config.FedTPPrior(generated=()))
    )
    for path, leaf in one.state.shared.items():
        np.testing.assert_allclose(other.state.shared[path], leaf, atol=1e-6, err_msg=path)
    accuracies = [result.history["test_accuracy"] for result in (one, other)]
    np.testing.assert_array_equal(*accuracies)


def test_a_client_that_took_part_has_the_log_of_its_shares_and_others_zeros(run):
    result, _ = run
    prior, trained = result.state.rows.take(np.arange(8))[PRIOR], result.state.rows.trained > 0
    counts = result.partition.train.class_counts(DATA.train.y, 10)
    assert 3 <= trained.sum() <= 6
    np.testing.assert_allclose(prior[trained], log_shares(counts)[trained], rtol=1e-6)
    assert not prior[~trained].any()


def test_it_predicts_with_its_prior(run):
    result, _ = run
    client = int(np.flatnonzero(result.state.rows.trained)[0])
    variables = result.variables(client)
    x = (DATA.test.x[:20].astype(np.float32) / 255 - np.float32(DATA.mean)) / np.float32(DATA.std)
    alone = result.model.apply(variables, x)
    prior = result.state.rows.take([client])[PRIOR][0]
    np.testing.assert_allclose(result.predict(client, DATA.test.x[:20]), alone + prior, atol=1e-5)


def test_a_run_that_was_stopped_goes_on_bit_for_bit(run, tmp_path):
    folder = tmp_path / "run"

    def stop(progress):
        if progress.round == 2:
            raise KeyboardInterrupt

    saved = dataclasses.replace(SETTINGS, checkpoint=config.Checkpoint(every=1))
    with pytest.raises(KeyboardInterrupt):
        simulate(saved, out=folder, on_round=stop)
    resumed = simulate(saved, out=folder, resume=True)
    for a, b in zip(everything(run[0]), everything(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_new_clients_start_from_their_own_counts(run):
    result, _ = run
    reached = result.personalize_held_out(DATA)
    assert (
        reached.words["zero_shot"] == "the mean client's leaves, and what the client's own class counts give"
    )
    ids = reached.clients["client"].to_numpy()
    counts = result.partition.train.class_counts(DATA.train.y, 10)[ids]
    trained = np.setdiff1d(np.flatnonzero(result.state.rows.trained), ids)
    mean = result.state.rows.take(trained)["client/embedding"].mean(0)
    for row in range(2):
        variables = reached.variables(row, "zero_shot")
        np.testing.assert_allclose(variables["prior"]["log_shares"], log_shares(counts)[row], rtol=1e-6)
        np.testing.assert_array_equal(
            variables["params"]["head"]["bias"], result.state.shared["params/head/bias"]
        )
    made = result._built[1].realize(
        result.state.shared, result.state.generator, {"client/embedding": mean[None]}
    )
    np.testing.assert_allclose(
        reached.variables(0, "zero_shot")["params"]["head"]["kernel"],
        made["params/head/kernel"][0],
        atol=1e-6,
    )
    for mode in ("fit", "fine_tune"):  # neither a gradient moves it nor decay
        np.testing.assert_allclose(
            reached.variables(0, mode)["prior"]["log_shares"], log_shares(counts)[0], rtol=1e-6
        )
    assert reached.trained_parameters["fit"] == 4
    assert "prior" not in reached.variables(0, "local")


def test_who_holds_no_example_can_start_but_not_train(run):
    result, _ = run
    groups = np.repeat(["a", "b"], [30, 10])
    train, test = slice(0, 30), slice(0, 40)
    data = from_arrays(
        *(DATA.train.x[train], DATA.train.y[train], DATA.test.x[test], DATA.test.y[test]),
        groups=groups[train],
        groups_test=groups,
        num_classes=10,
    )
    reached = result.personalize(data, modes=["zero_shot"])
    assert not reached.variables(1, "zero_shot")["prior"]["log_shares"].any()
    assert reached.variables(0, "zero_shot")["prior"]["log_shares"].any()
    with pytest.raises(UserError, match=r"clients: client 1 \(b\) has no train example to train on"):
        result.personalize(data, modes=["fit"])


def test_mistakes():
    with pytest.raises(UserError, match=r"method\.smoothing: "):
        simulate(dataclasses.replace(SETTINGS, method=config.FedTPPrior(smoothing=0.0)))
    numbers = from_arrays(np.ones((40, 3), np.float32), np.arange(40, dtype=np.float32), task="regression")
    settings = dataclasses.replace(SETTINGS, partition=config.Iid(clients=5), task=config.Task("regression"))
    with pytest.raises(UserError, match="method fedtp_prior asks how many examples of each class"):
        simulate(dataclasses.replace(settings, model=config.Mlp()), data=numbers)
    with pytest.raises(UserError, match=r"method\.fixed: matches every parameter"):
        everything_fixed = config.FedTPPrior(generated=(), fixed=(".",))
        simulate(dataclasses.replace(SETTINGS, method=everything_fixed))
    with pytest.raises(
        UserError, match=r"role_learning_rates\.personal: 0.5, but this method has no personal"
    ):
        rates = config.RoleRates(personal=0.5)
        simulate(
            dataclasses.replace(SETTINGS, training=dataclasses.replace(TRAINING, role_learning_rates=rates))
        )


@pytest.mark.parametrize(
    ("counted", "message"),
    [
        ("prior", "counted is a str, expected a Counted"),
        (Counted(PRIOR, dict), r"counted.paths is 'prior/log_shares', expected a tuple"),
        (Counted(("prior/log_share",), dict), r"counted.paths name 'prior/log_share' \(did you mean"),
        (Counted((PRIOR,), lambda counts: {}), "counted.of lacks"),
        (Counted((PRIOR,), lambda counts: {PRIOR: counts[:, :2]}), "counted.of returns leaves"),
    ],
)
def test_a_method_of_ones_own_whose_counts_are_wrong(counted, message):
    def mine(task):
        return make_method(SETTINGS.method, task)._replace(counted=counted)

    with pytest.raises(UserError, match=message):
        simulate(dataclasses.replace(SETTINGS, method=mine))


def test_a_leaf_whose_path_begins_alike_is_trained():
    def mine(task):
        extra = {PRIOR: zeros((task.num_classes,)), f"{PRIOR}_scale": zeros((3,))}
        rules = [("personal", ("head/bias",)), ("shared", (".",))]
        method = role_method(task, rules, extra=extra, known=(PRIOR,))
        counted = Counted((PRIOR,), lambda counts: {PRIOR: counts})
        return method._replace(class_counts=True, counted=counted)

    result = simulate(dataclasses.replace(SETTINGS, method=mine))
    assert result.personalize_held_out(DATA, modes=["fit"]).trained_parameters == {"fit": 13}


def test_who_trains_nothing_of_its_own_has_no_fit():
    result = simulate(dataclasses.replace(SETTINGS, method=config.FedTPPrior(generated=())))
    assert list(result.personalize_held_out(DATA).reached) == ["zero_shot", "fine_tune", "local"]
    given = config.FedTPPrior(generated=(), hypernetwork=config.BasedHypernetwork(embedding=4))
    with pytest.warns(UserWarning, match=r"method\.hypernetwork\.embedding: 4 has no effect"):
        simulate(dataclasses.replace(SETTINGS, method=given))
