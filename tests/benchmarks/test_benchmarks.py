"""What the benchmarks compare the engine with does the engine's work."""

import numpy as np
import pandas as pd
import pytest
from marks import every_day

from benchmarks import installed, soak, torture
from benchmarks.flops import training_flops
from benchmarks.plain_jax import PlainFedAvg
from benchmarks.workloads import RepeatedRound, cohort_batches, random_images
from fedtp_jax import config, simulate
from fedtp_jax.core import tree
from fedtp_jax.engine.mesh import make_mesh

VIT = config.Vit(patch_size=14, dim=8, depth=1, heads=2, dim_head=4, mlp_dim=8, dropout=0.0)
SETTINGS = config.SimulationConfig(
    partition=config.Dirichlet(clients=4, alpha=1.0, min_size=3),
    model=VIT,
    method=config.FedAvg(),
    training=config.Training(cohort_size=4, batch_size=8, learning_rate=0.05),
    engine=config.Engine(devices=1),
)
TINY = {
    "model": {"patch_size": 4, "dim": 8, "depth": 1, "heads": 2, "mlp_dim": 8},
    "method": "fedavg",
    "training": {"rounds": 1, "cohort_size": 2},
}


@pytest.fixture(scope="module")
def ours():
    return RepeatedRound(SETTINGS, random_images(100), devices=1)


@pytest.mark.slow
def test_plain_rounds_are_the_engine_s(ours):
    plain = PlainFedAvg(ours.simulator.task.model, random_images(100), SETTINGS.training)
    _, batches = cohort_batches(SETTINGS, ours.simulator.partition, 0)
    weights = tree.unflatten({path: np.asarray(leaf) for path, leaf in ours.state.shared.items()})
    rounds = {
        "series": plain.in_series(weights, batches),
        "padded": plain.padded(weights, batches),
        "padded on two devices": plain.padded(weights, batches, make_mesh(2)),
    }
    ours()
    for name, run in rounds.items():
        leaves = tree.flatten(run())
        for path, leaf in ours.state.shared.items():
            np.testing.assert_allclose(leaves[path], np.asarray(leaf), atol=1e-5, err_msg=f"{name} {path}")


def test_products_of_a_linear_chain_are_counted(ours):
    """2 M N K each: three a layer (forward, two gradients), no gradient of the images."""
    batch, tokens, dim = 2, 5, VIT.dim
    inner, scores = VIT.heads * VIT.dim_head, 2 * tokens**2 * VIT.heads * VIT.dim_head
    block = 3 * (2 * tokens * (4 * dim * inner + 2 * dim * VIT.mlp_dim) + 2 * scores)
    patches = 2 * 2 * (tokens - 1) * VIT.patch_size**2 * dim
    expected = batch * (block + patches + 3 * 2 * dim * 10)
    assert training_flops(ours.simulator.task, batch) == expected


def test_what_is_installed_adds_up():
    table = installed.sizes().set_index("package")["MB"]
    assert {"jax", "jaxlib", "numpy"} < installed.needed("fedtp_jax")
    assert "torch" not in installed.needed("fedtp_jax")  # of an extra
    assert table["all"] == pytest.approx(table.drop("all").sum(), abs=1)
    assert table.index[0] != "all" and table.iloc[0] == table.drop(["all", table.index[-2]]).max()


def test_growth_is_a_slope_over_the_second_half():
    rounds = np.arange(50, 2001, 50)
    samples = pd.DataFrame({"round": rounds, **dict.fromkeys(soak.MEASURES, 7.0)})
    samples["memory, MB"] = np.where(rounds <= 500, 100 + rounds, 600 + 0.002 * rounds)
    table = soak.growth(samples).set_index("measure")
    assert table.columns.tolist() == ["round 200", "round 2000", "slope per 1,000 rounds"]
    assert table.loc["memory, MB"].tolist() == [300.0, 604.0, 2.0]
    assert table.loc["threads"].tolist() == [7.0, 7.0, 0.0]


KILLED = "fedtp and fedper, two seeds, a sweep", "vanilla, two devices, rows on disk"


@pytest.mark.slow
def test_soak_looks_at_a_run():
    samples = soak.soak(rounds=6, every=2)
    assert [sample["round"] for sample in samples] == [2, 4, 6]
    assert all(set(soak.MEASURES) < set(sample) and min(sample.values()) > 0 for sample in samples)


@pytest.mark.parametrize("name", every_day([*KILLED], [], [KILLED[0]]))
def test_killed_runs_lose_nothing(name, tmp_path, monkeypatch):
    """A short version of `python -m benchmarks torture`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    disk = {"method": "vanilla", "engine": {"devices": 2, "rows": "disk"}}
    runs = {**torture.RUNS, "vanilla, two devices, rows on disk": disk}
    table = torture.kills_table({name: runs[name]}, 1, tmp_path)
    assert table["kills"].tolist() == [1, 1]
    assert table["lost"].tolist() == [0, 0]


@pytest.mark.slow
def test_what_differs_is_found(tmp_path):
    """The comparison that the torture rests on is not blind."""
    runs = [tmp_path / "one", tmp_path / "other"]
    for seed, run in enumerate(runs):
        simulate(seed=seed, out=run, **TINY)
    lost = torture.differences(*runs)
    assert {"metrics.csv", "clients.csv", "config.yaml"} < set(lost)
    assert any("shared" in path for path in lost)
    assert torture.differences(runs[0], runs[0]) == []
