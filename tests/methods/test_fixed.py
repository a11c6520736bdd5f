"""The role `fixed`: never trained, never sent, one copy for all, whatever the optimizers and the model do."""

import dataclasses

import jax
import numpy as np
import pytest
from method_cases import CLIENTS, HYPER, TRAINING, simulator

from fedtp_jax import config
from fedtp_jax.config import Own
from fedtp_jax.core import tree
from fedtp_jax.engine.lanes import Row
from fedtp_jax.engine.workbench import make_facts
from fedtp_jax.methods import role_method

MOMENTUM = config.Optimizer("sgd", {"momentum": 0.9})


def frozen_norms(task):
    """Norm layers and their running statistics, which the forward pass would move, stay."""
    return role_method(task, [("fixed", ("norm_1/", "norm_2/", "head/bias")), ("shared", (".",))])


def untouched(method, model):
    """(simulator, its fixed leaves at first, all shared ones at first and after a round)."""
    training = dataclasses.replace(TRAINING, weight_decay=0.1, optimizer=MOMENTUM)
    sim = simulator(method, model, training=training, server=config.Server(0.5, MOMENTUM))
    state = sim.init()
    before = jax.device_get(state.shared)
    state, result = sim.round(state, 0, sim.prepare(0))
    assert result.excluded == ()
    return sim, tree.select(before, sim.method.roles, "fixed"), before, jax.device_get(state.shared)


@pytest.mark.parametrize(
    ("method", "model", "count"),
    [
        (Own.part(frozen_norms), "cnn_bn", 9),
        (config.FedTP(fixed=("mlp/", "head/"), hypernetwork=HYPER), "vit", 6),
    ],
)
def test_neither_decay_nor_momentum_nor_the_server_nor_a_forward_pass_moves_a_fixed_leaf(
    method, model, count
):
    sim, fixed, before, after = untouched(method, model)
    assert len(fixed) == count
    for path, leaf in before.items():
        assert np.array_equal(leaf, after[path]) == (path in fixed), path
    size = tree.num_bytes(tree.select(sim.task.leaf_shapes(), sim.method.roles, "shared", "generated"))
    assert sim.traffic == (size, size)


def test_lanes_hold_no_copy_of_fixed_leaves():
    sim = simulator(config.FedPer(fixed=("block_0/",)), "vit")
    shared, rows = jax.eval_shape(sim.method.send, sim.initial.one_client)
    row = {path: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for path, leaf in rows.items()}
    facts = jax.tree.map(lambda fact: fact[0], make_facts(np.zeros(1), []))
    carry = jax.eval_shape(sim.method.work.start, shared, Row(row, facts), jax.random.key(0))
    assert any("block_0/" in path for path in shared)
    assert set(carry.leaves) == {path for path in sim.task.leaf_shapes() if "block_0/" not in path}


def test_a_rule_may_still_train_what_others_fix():
    """Rules hold in their order, whatever their roles."""
    roles = tree.assign_roles(
        ["params/a/kernel", "params/b/kernel"],
        [("personal", ("a/",)), ("fixed", ("kernel",)), ("shared", (".",))],
    )
    assert roles == {"params/a/kernel": "personal", "params/b/kernel": "fixed"}


def test_who_stops_before_the_last_pass_leaves_the_body_of_fedrep_alone():
    training = dataclasses.replace(TRAINING, local_epochs=3)
    moved = []
    for passes in (2, 3):
        sim = simulator(config.FedRep(), "vit", training=training)
        cohort = sim.participation.participants(0).ids
        in_pass = -(-sim.partition.train.sizes[cohort] // training.batch_size)
        batches = [sim._batches(0, int(k), int(passes * n)) for k, n in zip(cohort, in_pass, strict=True)]
        state = sim.init()
        before = jax.device_get(state.shared), state.rows.take(np.arange(CLIENTS))
        state, _ = sim.round(state, 0, [sim.prepare_wave(cohort, batches, cohort)])
        after = state.rows.take(cohort)
        assert all(not np.array_equal(before[1][path][cohort], after[path]) for path in after)
        moved.append(max(float(np.abs(before[0][path] - leaf).max()) for path, leaf in state.shared.items()))
    assert moved[0] < 1e-6 < 1e-4 < moved[1]  # the mean of equal leaves is rounded
