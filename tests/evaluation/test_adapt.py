"""Adaptation before a test: the engine against a plain loop, whatever the layout; what a run tells of it."""

import contextlib
import dataclasses
import io
import json

import jax
import numpy as np
import pandas as pd
import pytest
from commands import fedtp
from marks import every_day
from method_cases import METHODS, TEST, simulator
from oracle import World
from oracle_adapt import evaluate_adapted
from oracle_methods import METHODS as ORACLES
from ragged_clients import CASES, CLIENTS, federation_of, make_simulator
from rich.console import Console
from tiny_run import TINY, Stopped, same_files, same_state, stop_after

from fedtp_jax import Result, UserError, compare, config, simulate
from fedtp_jax.config import Adapt, Evaluation
from fedtp_jax.runs.display import Display

LAYOUTS = {
    "one-lane": {},
    "three-lanes": {"lanes": 3},
    "two-devices-two-lanes": {"devices": 2, "lanes": 2},
    "waves-of-2": {"wave_size": 2},
}
RUNS = {
    ("fedavg", "one-lane"): Adapt(epochs=2),
    ("fedavg", "three-lanes"): Adapt(epochs=2),
    ("fedavg", "two-devices-two-lanes"): Adapt(epochs=2),
    ("fedavg", "waves-of-2"): Adapt(epochs=2),
    ("fedavg, adam", "three-lanes"): Adapt(steps=3),
    ("fedtp", "one-lane"): Adapt(epochs=1, learning_rate=0.1),
    ("fedtp", "two-devices-two-lanes"): Adapt(steps=4, leaves=("query/", "head/kernel")),
    ("fedper, noise", "waves-of-2"): Adapt(steps=5, learning_rate=0.2, leaves=("head/",)),
    ("fedrod", "three-lanes"): Adapt(epochs=1),
    ("fedbn", "one-lane"): Adapt(epochs=1),
    ("fedbn", "three-lanes"): Adapt(epochs=1, leaves=("^params/",)),  # running statistics stay
    ("fedtp on text", "one-lane"): Adapt(steps=2),
    ("fedper on text", "three-lanes"): Adapt(epochs=1),
}
QUICK = [
    *(("fedavg", "one-lane"), ("fedtp", "two-devices-two-lanes"), ("fedper, noise", "waves-of-2")),
    *(("fedrod", "three-lanes"), ("fedper on text", "three-lanes")),
]
TOO = dataclasses.replace(
    TINY, evaluation=dataclasses.replace(TINY.evaluation, adapt=Adapt(epochs=1, learning_rate=0.05))
)
COLUMNS = [f"adapted_{name}" for name in ("accuracy", "client_mean", "client_std", "worst_decile", "loss")]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The tiny run with adaptation: (result, folder)."""
    path = tmp_path_factory.mktemp("adapted") / "run"
    return simulate(TOO, out=path), path


def part(state, oracle):
    """Give clients leaves of their own that differ, as after a training, in the engine and the plain loop."""
    random = np.random.default_rng(3)
    for path in oracle.own[0]:
        rows = np.stack([oracle.own[k][path] for k in range(CLIENTS)])
        rows = rows + np.float32(0.05) * random.random(rows.shape, np.float32)
        state.rows.put(np.arange(CLIENTS), {path: rows})
        for k in range(CLIENTS):
            oracle.own[k][path] = rows[k]


@pytest.mark.parametrize(("name", "layout"), every_day([*RUNS], QUICK, [*RUNS][::3]))
def test_the_engine_equals_a_plain_loop(name, layout):
    evaluation = Evaluation(adapt=RUNS[name, layout])
    with jax.numpy_dtype_promotion("standard" if "adam" in name else "strict"):
        sim = make_simulator(name, evaluation=evaluation, **LAYOUTS[layout])
        world = World(sim.config, sim.task, *federation_of(name))
        oracle = ORACLES[config.name_of(CASES[name].method)](world, CASES[name].method)
        state = sim.init()
        part(state, oracle)
        plain, adapted = (sim.evaluate(state, evaluator=one) for one in sim.evaluators.named.values())
    assert adapted.examples.tolist() == plain.examples.tolist() == list(range(CLIENTS))
    for k in range(1, CLIENTS):
        right, loss = evaluate_adapted(world, k, oracle.weights(k))
        np.testing.assert_allclose(adapted.measured[k], right, atol=1e-6)
        np.testing.assert_allclose(adapted.loss[k], loss, rtol=1e-4)
        right, loss = world.evaluate(k, lambda x, k=k: oracle.predict(k, x))
        np.testing.assert_allclose(plain.loss[k], loss, rtol=2e-5)


@pytest.mark.parametrize("method", every_day([*METHODS], ["fedproto"], [*METHODS][::3]))
def test_any_method_adapts_and_forgets(method):
    sim = simulator(method, "vit", evaluation=Evaluation(adapt=Adapt(epochs=2)))
    state, _ = sim.round(sim.init(), 0, sim.prepare(0))
    first = [sim.evaluate(state, evaluator=one) for one in sim.evaluators.named.values()]
    programs = sim.programs.count
    with jax.transfer_guard("disallow"):
        again = [sim.evaluate(state, evaluator=one) for one in sim.evaluators.named.values()]
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert sim.programs.count == programs
    plain, adapted = first
    assert adapted.examples.tolist() == list(TEST)
    assert np.isfinite(adapted.loss).all()
    tested = adapted.examples > 0
    assert not np.isclose(adapted.loss, plain.loss)[tested].any()


def test_the_figures_before_are_those_of_a_run_without(whole, run):
    (without, _), (result, _) = whole, run
    assert [name for name in result.history if name not in without.history] == COLUMNS
    pd.testing.assert_frame_equal(result.history[[*without.history]], without.history)
    pd.testing.assert_frame_equal(result.clients[[*without.clients]], without.clients)
    same_state(result.state, without.state)
    assert without.adapted is None


def test_the_figures_after_stand_beside_them(run):
    result, _ = run
    history, clients, reached = result.history.dropna(subset="test_accuracy"), result.clients, result.adapted
    assert history[COLUMNS].notna().all().all()
    assert result.history[COLUMNS].isna().any(axis=1).tolist() == [True, False] * 3
    right = clients["adapted_accuracy"] * clients["test_examples"]
    assert reached["last"] == pytest.approx(right.sum() / clients["test_examples"].sum())
    assert reached["client_mean"] == pytest.approx(clients["adapted_accuracy"].mean())
    assert reached["mean"] == pytest.approx(history["adapted_accuracy"].tail(2).mean())
    assert clients["adapted_accuracy_mean"].mean() == pytest.approx(
        history["adapted_client_mean"].tail(2).mean()
    )
    loss = (clients["adapted_loss"] * clients["test_examples"]).sum() / clients["test_examples"].sum()
    assert reached["loss"] == pytest.approx(loss)
    assert reached["last"] > result.accuracy["last"]  # clients of two classes gain by it
    assert f"adapted {reached['last']:.3f}" in repr(result)


@pytest.mark.parametrize("stop", [3, 4])
def test_resume_equals_never_stopped(stop, run, tmp_path):
    result, path = run
    with pytest.raises(Stopped):
        simulate(TOO, out=tmp_path / "run", on_round=stop_after(stop))
    resumed = simulate(TOO, out=tmp_path / "run", resume=True)
    same_files(path, tmp_path / "run")
    pd.testing.assert_frame_equal(result.history, resumed.history)
    loaded = Result.load(path)
    assert loaded.adapted == result.adapted
    pd.testing.assert_frame_equal(loaded.clients, result.clients)


@pytest.mark.slow
def test_a_seed_among_several_is_the_run_that_it_is_alone(run, tmp_path):
    result, _ = run
    first, second = simulate(TOO, seeds=[0, 1], out=tmp_path / "runs")
    pd.testing.assert_frame_equal(first.history, result.history)
    pd.testing.assert_frame_equal(second.history, simulate(dataclasses.replace(TOO, seed=1)).history)


def test_what_is_printed(run, tmp_path, monkeypatch, capsys):
    result, path = run
    reached = result.adapted
    monkeypatch.chdir(tmp_path)
    config_file = path / "config.yaml"
    code, out, _ = fedtp(capsys, "run", str(config_file), "--quiet", "--out", "again")
    assert code == 0
    assert f"adapted: test accuracy {reached['last']:.4f}; " in out
    assert f"adapted clients: mean {reached['client_mean']:.4f}" in out
    code, out, _ = fedtp(capsys, "run", str(config_file), "--json", "--out", "json")
    told = json.loads(out)
    assert told["adapted_last"] == reached["last"]
    assert told["test_last"] == result.accuracy["last"]
    report = (tmp_path / "json" / "report.html").read_text("utf-8")
    assert f"<td>{reached['last']:.2%}</td>" in report
    assert "adapted worst decile (%)" in report


def test_progress_and_curves_show_both(run):
    shown = io.StringIO()
    with Display(Console(file=shown, width=120), TOO.training.rounds, silent=False) as display:
        simulate(TOO, on_round=display.on_round)
    assert f"adapted {run[0].adapted['last']:.4f}" in shown.getvalue()
    drawn = [line.get_label() for line in run[0].plot_curves().axes[0].lines]
    assert f"all examples, adapted: {run[0].adapted['last']:.1%}".replace("%", " %") in drawn


def test_runs_are_compared_by_either(run, whole, tmp_path):
    result, path = run
    for given in (result, path):
        table = compare(given, "adapted_accuracy").table
        assert table["mean"].tolist() == [result.adapted["mean"]]
        assert compare(given, "adapted_client_mean").table["mean"].tolist() == [result.adapted["client_mean"]]
        assert compare(given).table["mean"].tolist() == [result.accuracy["mean"]]
    with pytest.raises(
        UserError, match="metric: 'adapted_accuracy', but the clients of fedtp, seed 0 did not"
    ):
        compare([whole[0], result], "adapted_accuracy")
    longer = dataclasses.replace(TOO.evaluation, adapt=Adapt(epochs=3))
    other = dataclasses.replace(result, config=dataclasses.replace(TOO, evaluation=longer))
    both = compare([result, other], "adapted_accuracy")
    assert len(both.sheet.rows) == 2  # as methods are, not as tasks
    assert both.sheet.columns == ["adapted accuracy"]
    assert both.table["p_value"].tolist()[1] == 1
    assert both.plot().axes


def test_a_plan_counts_it(tmp_path, monkeypatch, capsys):
    from fedtp_jax.config.plain import to_yaml
    from fedtp_jax.simulation import plan

    monkeypatch.setattr(plan, "LONG", 0.001)
    planned = plan.plan_run(TOO)
    alone = planned.evaluation.useful_steps
    assert planned.adaptation.useful_steps > alone
    assert planned.seconds > planned.rounds * planned.training.seconds
    assert planned.figures()["adaptation"]["seconds"] == planned.adaptation.seconds
    (tmp_path / "too.yaml").write_text(to_yaml(TOO))
    with contextlib.chdir(tmp_path):
        _, out, _ = fedtp(capsys, "plan", "too.yaml")
    assert "\nadapted " in out
