"""Clients met after training: what is trained and what is not, against a plain loop; their mistakes."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from commands import fedtp
from safetensors import safe_open

from fedtp_jax import Result, SimulationConfig, UserError, config, from_arrays, simulate
from fedtp_jax.core import rng, tree
from fedtp_jax.data.sources import load
from fedtp_jax.evaluation.novel_steps import Adaptation
from fedtp_jax.export import export_client
from fedtp_jax.learning.method import own

SETTINGS = SimulationConfig(
    partition=config.Pathological(clients=9, classes_per_client=2),
    model=config.Vit(patch_size=4, dim=8, depth=1, heads=2, dim_head=4, mlp_dim=8),
    method=config.FedTPPer(hypernetwork=config.Hypernetwork(embedding=4, hidden=6, layers=1)),
    training=config.Training(rounds=3, cohort_size=3, held_out=3, learning_rate=0.1, batch_size=64),
    evaluation=config.Evaluation(every=2, last=2),
    engine=config.Engine(devices=1),
)
DATA = load(SETTINGS.data)
ADAPTATION = Adaptation(epochs=2, learning_rate=0.05, embedding_learning_rate=0.5)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with three clients held out: (result, folder)."""
    path = tmp_path_factory.mktemp("novel") / "run"
    return simulate(SETTINGS, out=path), path


@pytest.fixture(scope="module")
def reached(run):
    return run[0].personalize_held_out(DATA, settings=ADAPTATION)


def leaves(variables):
    return tree.flatten({name: part for name, part in variables.items() if part})


def test_held_out_clients_never_train_and_are_not_evaluated(run):
    result, path = run
    untested = result.clients["test_accuracy"].isna()
    assert untested.sum() == 3
    title = result.plot_clients().axes[0].get_title(loc="left")
    assert title == "Clients tested: 6, not evaluated: 3"
    report = (path / "report.html").read_text()
    assert "3 clients were held out" in report and "hold no test examples" not in report
    assert result.history["clients_tested"].dropna().tolist() == [6, 6]
    assert result.history["clients_without_test"].dropna().tolist() == [0, 0]
    head = result.state.rows.take(np.arange(9))["params/head/kernel"]
    assert all(np.array_equal(head[k], head[np.flatnonzero(untested)[0]]) for k in np.flatnonzero(untested))
    assert not np.array_equal(head[np.flatnonzero(~untested)[0]], head[np.flatnonzero(untested)[0]])


def test_every_mode_trains_what_it_says(run, reached):
    result, _ = run
    assert list(reached.reached) == ["zero_shot", "fit", "fine_tune", "local"]
    assert (
        reached.clients["client"].tolist() == np.flatnonzero(result.clients["test_accuracy"].isna()).tolist()
    )
    shared = result.state.shared
    zero, fit, tuned = (leaves(reached.variables(1, mode)) for mode in ("zero_shot", "fit", "fine_tune"))
    for path in zero:
        assert np.array_equal(zero[path], fit[path]) == (path in shared), path
        assert not np.array_equal(fit[path], tuned[path]), path
    rows = own(result.state.rows.take(np.array([0])))
    assert reached.trained_parameters["fit"] == sum(leaf.size for leaf in rows.values())
    assert rows["client/embedding"].shape == (1, SETTINGS.method.hypernetwork.embedding)
    assert reached.trained_parameters["local"] == sum(leaf.size for leaf in zero.values())


def test_fitting_equals_a_plain_loop(run, reached):
    """The embedding and the personal head of one client by SGD with momentum, everything else frozen."""
    result, _ = run
    client = 2
    trained = np.setdiff1d(np.arange(9), reached.clients["client"])
    phi, hypernetwork = result.state.generator, result._built[1]
    rows = own(result.state.rows.take(trained))
    start = {path.replace("client/embedding", "z"): leaf.mean(0) for path, leaf in rows.items()}
    velocity = {name: jnp.zeros_like(leaf) for name, leaf in start.items()}
    rates = {name: 0.5 if name == "z" else 0.05 for name in start}

    def everything(start):
        generated = hypernetwork.realize({}, phi, {"client/embedding": start["z"][None]})
        heads = {path: leaf for path, leaf in start.items() if path != "z"}
        return {**result.state.shared, **heads, **{path: leaf[0] for path, leaf in generated.items()}}

    @jax.jit
    def gradient(start, x, y, key):
        def loss(start):
            variables = tree.unflatten(everything(start))
            logits = result.model.apply(variables, x, train=True, rngs={"dropout": key})
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        return jax.grad(loss)(start)

    x = (jnp.asarray(DATA.train.x, jnp.float32) / 255 - DATA.mean[0]) / DATA.std[0]
    shard = result.partition.train[reached.clients["client"][client]]
    number = int(reached.clients["client"][client])
    order, step = rng.generator(0, rng.Purpose.NOVEL, number), 0
    key = jax.random.fold_in(rng.key(0, rng.Purpose.NOVEL), number)
    for _ in range(ADAPTATION.epochs):
        shuffled = order.permutation(shard)
        for first in range(0, len(shuffled), 64):
            batch = shuffled[first : first + 64]
            g = gradient(start, x[batch], jnp.asarray(DATA.train.y[batch]), jax.random.fold_in(key, step))
            for name in start:
                velocity[name] = 0.9 * velocity[name] + g[name] + 1e-5 * start[name]
                start[name] = start[name] - rates[name] * velocity[name]
            step += 1
    expected, actual = everything(start), leaves(reached.variables(client, "fit"))
    assert set(actual) == set(expected)
    for path, leaf in expected.items():
        np.testing.assert_allclose(actual[path], leaf, atol=3e-6, rtol=1e-5, err_msg=path)


def test_a_client_reaches_the_same_whoever_comes_along(run, reached):
    result, _ = run
    ids = reached.clients["client"].tolist()
    alone = result.personalize_held_out(DATA, [ids[2]], ["fit"], ADAPTATION)
    for path, leaf in leaves(reached.variables(2, "fit")).items():
        np.testing.assert_allclose(leaves(alone.variables(0, "fit"))[path], leaf, atol=1e-6, err_msg=path)


@pytest.mark.slow
def test_a_method_that_leaves_nothing_to_clients_has_no_fit():
    result = simulate(dataclasses.replace(SETTINGS, method=config.FedAvg()))
    reached = result.personalize_held_out(DATA, modes=["zero_shot"])
    shared = {path: np.asarray(leaf) for path, leaf in result.state.shared.items()}
    for path, leaf in leaves(reached.variables(0, "zero_shot")).items():
        np.testing.assert_array_equal(leaf, shared[path])
    with pytest.raises(UserError, match="fedavg leaves nothing to a client, so there is nothing to fit"):
        result.personalize_held_out(DATA, modes=["fit"])


def test_clients_from_elsewhere(run):
    result, _ = run
    groups = np.repeat(["a", "b"], [40, 30])
    rows = np.flatnonzero(DATA.train.y < 3)[:70]
    data = from_arrays(DATA.train.x[rows], DATA.train.y[rows], groups=groups, num_classes=10)
    reached = result.personalize(data, modes=["zero_shot"])
    assert reached.clients[["client", "name"]].to_numpy().tolist() == [[0, "a"], [1, "b"]]
    x, y = data.test.x[data.test.group == 1], data.test.y[data.test.group == 1]
    normalised = (x.astype(np.float32) / 255 - np.float32(DATA.mean)) / np.float32(DATA.std)
    logits = result.model.apply(reached.variables(1, "zero_shot"), normalised)
    assert reached.clients["zero_shot"][1] == pytest.approx(np.mean(np.argmax(logits, -1) == y))
    alone = from_arrays(DATA.train.x[rows], DATA.train.y[rows], num_classes=10)
    assert len(result.personalize(alone, modes=["zero_shot"]).clients) == 1
    with pytest.raises(UserError, match=r"data: uint8 examples of shape \[4, 4, 1\]"):
        result.personalize(from_arrays(data.train.x[:, :4, :4], data.train.y))


def test_mistakes(run, reached):
    result, _ = run
    trained = int(np.flatnonzero(result.clients["test_accuracy"].notna())[0])
    with pytest.raises(UserError, match=f"clients: client {trained} is not one of the held-out clients"):
        result.personalize_held_out(DATA, clients=[trained])
    with pytest.raises(UserError, match="modes: got 'fitt', expected some of zero_shot, fit"):
        result.personalize_held_out(DATA, modes=["fitt"])
    with pytest.raises(UserError, match="embedding_learning_rate: got 'fast'"):
        Adaptation(embedding_learning_rate="fast")
    with pytest.raises(UserError, match=r"clients: got \[\], expected ids"):
        result.personalize_held_out(DATA, clients=[])
    with pytest.raises(UserError, match="data: got a tuple"):
        result.personalize((DATA.train.x, DATA.train.y))
    with pytest.raises(UserError, match="data: float32 examples"):
        result.personalize(from_arrays(DATA.train.x.astype(np.float32) / 255, DATA.train.y))
    with pytest.raises(UserError, match="x: got int64, expected uint8"):
        result.predict(0, DATA.test.x[:1].astype(np.int64))
    with pytest.raises(UserError, match="epochs: got 0"):
        Adaptation(epochs=0)
    with pytest.raises(UserError, match="learning_rate: got -1"):
        Adaptation(learning_rate=-1)
    with pytest.raises(UserError, match="mode: got 'best'"):
        reached.variables(0, "best")
    with pytest.raises(UserError, match="client: got 3, expected a whole number from 0 to 2"):
        reached.variables(3)
    with pytest.raises(UserError, match=r"training\.held_out: 9 of 9 clients"):
        settings = dataclasses.replace(SETTINGS, partition=config.Natural())
        groups = np.arange(len(DATA.train)) % 9
        training = dataclasses.replace(SETTINGS.training, held_out=9)
        data = from_arrays(DATA.train.x, DATA.train.y, groups=groups)
        simulate(dataclasses.replace(settings, training=training), data=data)


def test_from_the_shell(run, reached, tmp_path, capsys):
    _, path = run
    out = tmp_path / "novel.csv"
    words = ["--epochs", "2", "--learning-rate", "0.05", "--embedding-learning-rate", "0.5"]
    code, shown, _ = fedtp(
        capsys, "novel", str(path), *words, "--modes", "zero_shot", "fit", "--out", str(out)
    )
    assert code == 0
    table = pd.read_csv(out)
    assert table["client"].tolist() == reached.clients["client"].tolist()
    np.testing.assert_allclose(table["fit"], reached.clients["fit"], atol=1e-9)
    assert f"{reached.reached['fit'].pooled:.4f}" in shown
    code, _, err = fedtp(capsys, "novel", str(path), "--clients", "99")
    assert (code, err.count("\n")) == (2, 1)
    assert "clients: client 99" in err


def test_a_run_without_held_out_clients_has_no_novel_ones(tmp_path):
    training = dataclasses.replace(SETTINGS.training, held_out=0, rounds=1)
    simulate(dataclasses.replace(SETTINGS, training=training), out=tmp_path / "run")
    with pytest.raises(UserError, match=r"training\.held_out: 0, so every client took part"):
        Result.load(tmp_path / "run").personalize_held_out(DATA)


def test_a_held_out_client_is_exported_after_its_adaptation(run, tmp_path, capsys):
    result, path = run
    client = int(np.flatnonzero(result.clients["test_accuracy"].isna())[1])
    file, how = tmp_path / "new.safetensors", ["--clients", str(client), "--modes", "fit", "--epochs", "2"]
    code, out, err = fedtp(capsys, "novel", str(path), *how, "--export", str(file))
    assert (code, err) == (0, "") and f"wrote {file}" in out
    with safe_open(file, "numpy") as opened:
        found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        about = {name: json.loads(opened.metadata()[name]) for name in ("client", "mode", "trained_rounds")}
    assert about == {"client": client, "mode": "fit", "trained_rounds": 0}
    reached = result.personalize_held_out(DATA, [client], ["fit"], Adaptation(2))
    for name, leaf in leaves(reached.variables(0, "fit")).items():
        np.testing.assert_allclose(found[name], leaf, atol=1e-6, err_msg=name)
    code, _, err = fedtp(capsys, "novel", str(path), *how, "--export", str(file))
    assert code == 2 and "--export " in err and "or give --overwrite" in err
    with pytest.warns(UserWarning, match=f"client {client} has never trained"):
        export_client(result, client, tmp_path / "as_it_began.safetensors")
