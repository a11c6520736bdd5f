"""Seeds, and entries of a sweep, as further lanes of one program: what each would be alone, to rounding."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sweep_files
from commands import fedtp
from tiny_run import same_files

from fedtp_jax import Result, SimulationConfig, config, simulate
from fedtp_jax.engine.workbench import Workbench
from fedtp_jax.runs.side_by_side import Job
from fedtp_jax.runs.simulate import simulate_alike
from fedtp_jax.simulation import setup
from fedtp_jax.simulation.numbers import differing_numbers, programs_alike

SETTINGS = SimulationConfig(
    partition=config.Dirichlet(clients=6, alpha=0.3),
    model=config.Vit(patch_size=4, dim=8, depth=1, heads=2, dim_head=4, mlp_dim=8),
    method=config.FedTPPer(hypernetwork=config.Hypernetwork(embedding=4, hidden=6, layers=1)),
    training=config.Training(rounds=3, cohort_size=3, learning_rate=0.1, batch_size=32),
    evaluation=config.Evaluation(every=2, batch_size=8),
    checkpoint=config.Checkpoint(every=2),
    engine=config.Engine(devices=1, simulations=3),
)
SEEDS = [3, 0, 7, 1]


def engine(settings=SETTINGS, **values):
    return dataclasses.replace(settings, engine=dataclasses.replace(settings.engine, **values))


def about_the_same(a, b):
    assert a.config.seed == b.config.seed
    pd.testing.assert_frame_equal(a.history, b.history, rtol=1e-4)
    heads = [result.variables(2)["params"]["head"]["kernel"] for result in (a, b)]
    np.testing.assert_allclose(*heads, atol=1e-5)


@pytest.mark.slow
@pytest.mark.alone
def test_seeds_are_what_they_are_alone_and_share_the_programs(tmp_path):
    order = []
    results = simulate(
        SETTINGS, seeds=SEEDS, out=tmp_path / "runs", on_round=lambda p: order.append((p.seed, p.round))
    )
    # two by two: rounds of a pair in any order, but together
    assert {seed for seed, _ in order[:6]} == {3, 0} and {seed for seed, _ in order[6:]} == {7, 1}
    assert {round for _, round in order[:2]} == {1}
    assert results[0].compiled["programs"] < 1.5 * simulate(engine(simulations=1)).compiled["programs"]
    for one, other in zip(simulate(engine(simulations=1), seeds=SEEDS), results, strict=True):
        about_the_same(one, other)
        pd.testing.assert_frame_equal(
            other.history, Result.load(tmp_path / f"runs/seed-{other.config.seed}").history
        )


@pytest.mark.parametrize(
    "layout",
    [
        {"devices": 2, "lanes": 2},
        pytest.param({"devices": 2, "wave_size": 2, "rows": "disk"}, marks=pytest.mark.slow),
    ],
)
def test_on_devices_lanes_and_waves(layout):
    noisy = dataclasses.replace(
        SETTINGS,
        partition=config.FeatureNoise(clients=6),
        training=dataclasses.replace(
            SETTINGS.training, participation=config.Participation(dropout=0.2, stragglers=0.4)
        ),
    )
    alone = simulate(engine(noisy, simulations=1), seeds=[0, 1, 2])
    for one, other in zip(alone, simulate(engine(noisy, **layout), seeds=[0, 1, 2]), strict=True):
        about_the_same(one, other)


def test_what_one_raises_ends_all_and_they_go_on(tmp_path):
    def stop(progress):
        if (progress.seed, progress.round) == (7, 2):
            raise RuntimeError("enough")

    parts = {"seeds": [3, 0, 7], "out": tmp_path / "runs"}
    with pytest.raises(RuntimeError, match="enough"):
        simulate(SETTINGS, **parts, on_round=stop)
    rounds = []
    simulate(SETTINGS, **parts, resume=True, on_round=lambda progress: rounds.append(progress.round))
    assert sorted(rounds)[:3] >= [2, 2, 3]  # nobody began anew
    simulate(SETTINGS, seeds=[3, 0, 7], out=tmp_path / "whole")
    for seed in (3, 0, 7):
        same_files(tmp_path / f"runs/seed-{seed}", tmp_path / f"whole/seed-{seed}")


@pytest.mark.slow
def test_one_that_ends_early_leaves_the_others(tmp_path):
    def enough(progress):
        return progress.seed == 0

    results = simulate(SETTINGS, seeds=[3, 0], on_evaluation=enough)
    assert [len(result.history) for result in results] == [3, 2]


BASE = sweep_files.BASE.replace("fedavg", "fedprox")
GRID = {"method.mu": [0.5, 5.0], "training.learning_rate": [0.05, 0.1]}


def sweep(capsys, **values):
    lines = [f"{name}: {json.dumps(value)}" for name, value in values.items()]
    Path("grid.yaml").write_text("\n".join(["base: base.yaml", *lines]))
    return fedtp(capsys, "sweep", "grid.yaml")


@pytest.mark.slow
@pytest.mark.alone
def test_a_sweep_over_numbers_is_one_program(tmp_path, capsys, monkeypatch):
    """Numbers that are not handed to the program would be the first entry's for all."""
    for folder, simulations in (("alone", 1), ("together", 4)):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        (tmp_path / folder / "base.yaml").write_text(
            BASE.replace("devices: 1", f"devices: 1, simulations: {simulations}")
        )
        code, _, err = sweep(capsys, grid=GRID)
        assert code == 0 and err.count(": accuracy") == 4, err
        assert "side by side" not in err
    losses = []
    for path in sorted((tmp_path / "alone/runs/grid").glob("*/seed-4")):
        beside = tmp_path / "together" / path.relative_to(tmp_path / "alone")
        one, other = Result.load(path), Result.load(beside)
        about_the_same(one, other)
        losses.append(one.history["train_loss"].iloc[-1])
    assert len(set(losses)) == 4


@pytest.mark.alone
def test_rates_side_by_side_keep_what_uploads_meet(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    upload = "upload: [{name: clip, norm: 0.01}]\n"
    (tmp_path / "base.yaml").write_text(BASE.replace("devices: 1", "devices: 1, simulations: 2") + upload)
    code, _, err = sweep(capsys, grid={"training.learning_rate": [0.05, 0.1]})
    assert code == 0, err
    for path in sorted(Path("runs/grid").glob("*/seed-4")):
        beside = Result.load(path)
        settings = dataclasses.replace(
            beside.config, engine=dataclasses.replace(beside.config.engine, simulations=1)
        )
        about_the_same(simulate(settings), beside)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* holds no checkpoint")
def test_one_that_fails_does_not_end_the_others(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(BASE.replace("devices: 1", "devices: 1, simulations: 2"))
    grid = {"training.learning_rate": [1e30, 0.1], "training.on_nonfinite": ["stop"]}
    code, _, err = sweep(capsys, grid=grid)
    assert code == 1 and err.count(": accuracy") == 1
    assert "stopped side by side" in err and "not finite" in err.splitlines()[-1]


def test_what_is_alike():
    base = SimulationConfig(method=config.FedProx())

    def but(**parts):
        return dataclasses.replace(base, **parts)

    def training(**values):
        return but(training=dataclasses.replace(base.training, **values))

    assert programs_alike(base, but(method=config.FedProx(mu=0.3), seed=4))
    assert programs_alike(base, training(learning_rate=0.7))
    assert programs_alike(base, but(partition=dataclasses.replace(base.partition, alpha=0.7)))
    for other in (
        but(method=config.FedProx(mu=0.0)),  # whose program has no such term
        but(method=config.FedAvg()),
        but(partition=dataclasses.replace(base.partition, clients=7)),
        training(rounds=base.training.rounds + 1),
        training(local_epochs=3),
        but(model=config.Vit(depth=2)),
    ):
        assert not programs_alike(base, other)
    one, other = (but(partition=config.PartitionFile(name)) for name in ("plain.npz", "noisy.npz"))
    assert programs_alike(one, one) and not programs_alike(one, other)
    assert differing_numbers([base, but(method=config.FedProx(mu=0.3), seed=4)]) == [
        {"method.mu": 1.0},
        {"method.mu": 0.3},
    ]


def test_numbers_are_each_run_s_own_where_there_is_room_for_one(monkeypatch):
    """As on an accelerator that holds the programs of no two."""
    monkeypatch.setattr(setup, "may_train_side_by_side", lambda config: True)
    monkeypatch.setattr(Workbench, "fits", lambda *given: False)
    settings = engine(simulations="auto")
    rates = [dataclasses.replace(settings.training, learning_rate=rate) for rate in (0.1, 0.01)]
    several = [dataclasses.replace(settings, training=training) for training in rates]
    found = simulate_alike([Job(one, None, False, None, None) for one in several], [[0], [0]])
    for one, result in zip(several, found, strict=True):
        about_the_same(simulate(engine(one, simulations=1), seed=0), result)


@pytest.mark.slow
@pytest.mark.parametrize("rates", ["0.5, 0.7", "0.5, 1.0"])  # 1 is another program
def test_a_sweep_over_the_server_s_rate_trains_side_by_side(rates, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    base = sweep_files.BASE.replace("{devices: 1}", "{devices: 1, simulations: 2}")
    Path("base.yaml").write_text(base)
    Path("rates.yaml").write_text(f"base: base.yaml\ngrid: {{server.learning_rate: [{rates}]}}\n")
    code, _, err = fedtp(capsys, "sweep", "rates.yaml")
    assert code == 0 and "stopped side by side" not in err and "failed" not in err


def test_an_optimizer_s_arguments_are_no_numbers():
    hyper = [config.Hypernetwork(optimizer=config.Optimizer("sgd", {"momentum": m})) for m in (0.5, 0.9)]
    a, b = (dataclasses.replace(SETTINGS, method=config.FedTP(hypernetwork=one)) for one in hyper)
    assert not programs_alike(a, b)
    rates = [
        dataclasses.replace(SETTINGS, server=config.Server(learning_rate=rate)) for rate in (0.5, 0.7, 1.0)
    ]
    assert programs_alike(*rates[:2]) and not programs_alike(*rates[1:])
