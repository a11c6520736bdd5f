"""Several seeds at once are the runs that each seed makes alone, on programs that are compiled once."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pandas as pd
import pytest
from commands import fedtp

from fedtp_jax import Result, SimulationConfig, config, simulate
from fedtp_jax.config.plain import to_yaml

SETTINGS = SimulationConfig(
    partition=config.Dirichlet(clients=6, alpha=0.3),  # sizes differ from seed to seed
    model=config.Vit(patch_size=4, dim=8, depth=1, heads=2, dim_head=4, mlp_dim=8),
    method=config.FedTPPer(hypernetwork=config.Hypernetwork(embedding=4, hidden=6, layers=1)),
    training=config.Training(rounds=3, cohort_size=3, learning_rate=0.1, batch_size=32),
    evaluation=config.Evaluation(every=2, batch_size=8),  # the best for any of these shards
    engine=config.Engine(devices=1),
)
SEEDS = [3, 0, 7]

compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, duration, **_: (
        compiled.append(event) if event.endswith("backend_compile_duration") else None
    )
)


@pytest.fixture(scope="module")
def together(sharing, tmp_path_factory):
    path = tmp_path_factory.mktemp("seeds") / "runs"
    with sharing.off():
        return simulate(SETTINGS, seeds=SEEDS, out=path), path


def alone(seed, **arguments):
    return simulate(dataclasses.replace(SETTINGS, seed=seed), **arguments)


def same_bits(a, b):
    pd.testing.assert_frame_equal(a.history, b.history, check_exact=True)
    pd.testing.assert_frame_equal(a.clients, b.clients, check_exact=True)
    for x, y in zip(jax.tree.leaves(a.variables(2)), jax.tree.leaves(b.variables(2)), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.slow
@pytest.mark.alone
def test_seeds_whose_shards_want_other_batches_are_what_they_are_alone():
    sizes = config.Quantity(clients=6, alpha=0.3)
    small = dataclasses.replace(SETTINGS.training, batch_size=256)  # more than some seeds' largest shards
    settings = dataclasses.replace(
        SETTINGS,
        partition=sizes,
        training=small,
        evaluation=config.Evaluation(every=2),
        engine=config.Engine(),
    )
    for result in simulate(settings, seeds=SEEDS):
        same_bits(result, simulate(dataclasses.replace(settings, seed=result.config.seed)))


@pytest.mark.alone
def test_every_seed_is_the_run_that_it_would_be_alone(together):
    results, path = together
    assert [result.config.seed for result in results] == SEEDS
    for result in results[1:2]:  # which has the first one's programs
        single = alone(result.config.seed)
        same_bits(result, single)
        loaded = Result.load(path / f"seed-{result.config.seed}")
        pd.testing.assert_frame_equal(result.history, loaded.history)
    assert len({result.history["train_loss"].iloc[0] for result in results}) == len(SEEDS)


@pytest.mark.alone
def test_programs_are_compiled_once(together):
    results, _ = together
    one = alone(SEEDS[0]).compiled["programs"]
    assert [result.compiled["programs"] for result in results] == [one] * len(SEEDS)
    rounds = []

    def on_round(progress):
        rounds.append((progress.seed, progress.round, len(compiled)))

    simulate(SETTINGS, seeds=[1, 2], on_round=on_round)
    assert [(seed, round) for seed, round, _ in rounds] == [(s, r) for s in (1, 2) for r in (1, 2, 3)]
    assert rounds[-1][2] == rounds[2][2]  # nothing was compiled after the first seed's last round


def test_stopped_seeds_go_on(together, tmp_path):
    _, path = together

    def stop(progress):
        if (progress.seed, progress.round) == (SEEDS[1], 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(SETTINGS, seeds=SEEDS, out=tmp_path / "runs", on_round=stop)
    assert not (tmp_path / "runs" / f"seed-{SEEDS[2]}").exists()
    simulate(SETTINGS, seeds=SEEDS, out=tmp_path / "runs", resume=True)
    for seed in SEEDS:
        for name in ("metrics.csv", "clients.csv", "partition.npz"):
            files = [folder / f"seed-{seed}" / name for folder in (path, tmp_path / "runs")]
            assert files[0].read_bytes() == files[1].read_bytes(), (seed, name)


def test_seeds_killed_before_a_folder_was_whole_go_on(together, tmp_path):
    """A process that dies in the header: config.yaml is its last file."""
    _, path = together
    runs = shutil.copytree(path, tmp_path / "runs")
    last = runs / f"seed-{SEEDS[-1]}"
    shutil.rmtree(last / "checkpoints")
    for name in ("config.yaml", "metrics.csv", "timing.csv", "clients.csv", "report.html"):
        (last / name).unlink()
    simulate(SETTINGS, seeds=SEEDS, out=runs, resume=True)
    for name in ("metrics.csv", "clients.csv", "partition.npz", "config.yaml"):
        assert (last / name).read_bytes() == (path / last.name / name).read_bytes(), name


def test_from_the_shell(tmp_path, capsys):
    file, out = tmp_path / "tiny.yaml", tmp_path / "runs"
    file.write_text(to_yaml(SETTINGS))
    code, shown, _ = fedtp(
        capsys, "run", str(file), "training.rounds=1", "--seeds", "0", "1", "--out", str(out)
    )
    assert code == 0
    assert "over 2 seeds" in shown
    means = [Result.load(out / f"seed-{seed}").accuracy["mean"] for seed in (0, 1)]
    assert f"test accuracy {np.mean(means):.4f} ± {np.std(means, ddof=1):.4f} over 2 seeds" in shown
    code, shown, err = fedtp(capsys, "resume", str(out), "--json")
    assert (code, err) == (0, "")
    assert [one["test_mean"] for one in json.loads(shown)["seeds"]] == pytest.approx(means)
