"""What the benchmarks compare the engine with does the engine's work."""

import numpy as np
import pytest

from benchmarks.flops import training_flops
from benchmarks.plain_jax import PlainFedAvg
from benchmarks.workloads import RepeatedRound, cohort_batches, random_images
from fedtp_jax import config, engine, tree

VIT = config.Vit(patch_size=14, dim=8, depth=1, heads=2, dim_head=4, mlp_dim=8, dropout=0.0)
SETTINGS = config.SimulationConfig(
    partition=config.Dirichlet(clients=4, alpha=1.0, min_size=3),
    model=VIT,
    method=config.FedAvg(),
    training=config.Training(cohort_size=4, batch_size=8, learning_rate=0.05),
    engine=config.Engine(devices=1),
)


@pytest.fixture(scope="module")
def ours():
    return RepeatedRound(SETTINGS, random_images(100), devices=1)


def test_plain_rounds_are_the_engine_s(ours):
    plain = PlainFedAvg(ours.simulator.task.model, random_images(100), SETTINGS.training)
    _, batches = cohort_batches(SETTINGS, ours.simulator.partition, 0)
    weights = tree.unflatten({path: np.asarray(leaf) for path, leaf in ours.state.shared.items()})
    rounds = {
        "series": plain.in_series(weights, batches),
        "padded": plain.padded(weights, batches),
        "padded on two devices": plain.padded(weights, batches, engine.make_mesh(2)),
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
