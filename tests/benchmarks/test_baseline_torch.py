"""The PyTorch simulator that benchmarks compare with does the same work: equal rounds from equal weights."""

import dataclasses
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch comes with the extra `benchmarks` alone")

from torch_names import TABLE, hypernetwork_leaves, torch_state  # noqa: E402

from benchmarks.baseline_torch import torch_server  # noqa: E402
from benchmarks.torch_rounds import Cohort  # noqa: E402
from benchmarks.workloads import RepeatedRound, cohort_batches, random_images  # noqa: E402
from fedtp_jax import config  # noqa: E402
from fedtp_jax.export.torch_names import vit_leaves  # noqa: E402
from fedtp_jax.learning.method import EMBEDDING  # noqa: E402

VIT = config.Vit(patch_size=7, dim=16, depth=1, heads=2, dim_head=8, mlp_dim=24, dropout=0.0)
HYPERNETWORK = config.Hypernetwork(embedding=12, hidden=20, layers=3, learning_rate=0.1)
METHODS = {"fedavg": config.FedAvg(), "fedtp": config.FedTP(hypernetwork=HYPERNETWORK)}


def numpy_state(module):
    return {name: value.numpy() for name, value in module.state_dict().items()}


def carry_over(module, leaves, convert):
    """Our leaves into a PyTorch module; generated parameters have none and stay."""
    shapes = {name: value.shape for name, value in module.state_dict().items()}
    state = torch_state({path: np.asarray(leaf) for path, leaf in leaves.items()}, convert, shapes)
    module.load_state_dict({name: torch.tensor(value) for name, value in state.items()}, strict=False)


def assert_same(module, leaves, convert):
    theirs = convert(numpy_state(module))
    for path, leaf in leaves.items():
        np.testing.assert_allclose(theirs[path], np.asarray(leaf), atol=1e-5, err_msg=path)


def generator_of(ours):
    """Our hypernetwork and all clients' embeddings."""
    rows = ours.state.rows
    return {**ours.state.generator, TABLE: rows.take(np.arange(rows.clients))[EMBEDDING]}


@pytest.mark.parametrize("method", METHODS)
def test_a_round_in_pytorch_is_our_round(method):
    torch.set_num_threads(1)  # the models are tiny, and another test runs beside this one
    settings = config.SimulationConfig(
        partition=config.Dirichlet(clients=6, alpha=1.0, min_size=3),
        model=VIT,
        method=METHODS[method],
        training=config.Training(cohort_size=4, batch_size=8, local_epochs=2, learning_rate=0.05),
        engine=config.Engine(devices=1),
    )
    data = dataclasses.replace(random_images(150), mean=(0.3,), std=(0.4,))
    ours = RepeatedRound(settings, data, devices=1)
    partition = ours.simulator.partition
    theirs = torch_server(settings, data, partition.num_clients)
    convert = partial(hypernetwork_leaves, dim=VIT.dim)
    carry_over(theirs.model, ours.state.shared, vit_leaves)
    if theirs.hypernetwork:
        carry_over(theirs.hypernetwork, generator_of(ours), convert)

    for round in range(2):  # the second one starts from the hypernetwork's momentum
        ids, batches = cohort_batches(settings, partition, round)
        theirs.round(Cohort.of(ids, batches, partition.train.sizes[ids]))
        prepared = ours.simulator.prepare(round)
        ours.state, _ = ours.simulator.round(ours.state, round, prepared)
        assert_same(theirs.model, ours.state.shared, vit_leaves)
        if theirs.hypernetwork:
            assert_same(theirs.hypernetwork, generator_of(ours), convert)
