"""Which role each leaf has, and by which rule: as a plain search finds it, and as the tables show it."""

import re

import numpy as np
import pytest
from method_cases import HYPER, simulator

from fedtp_jax import config
from fedtp_jax.cli.tables import leaves_table
from fedtp_jax.learning.leaf_roles import leaf_roles, leaves_in_short
from fedtp_jax.methods import make_method

FIXED, PERSONAL = ("^params/patch_", "head_norm/"), ("head/", "norm/")
GENERATED = "key/kernel", "(query|value)/"
MIXED = config.FedTP(fixed=FIXED, personal=PERSONAL, generated=GENERATED, hypernetwork=HYPER)


def leaves_of(method, model="vit"):
    sim = simulator(method, model)
    return sim, leaf_roles(sim.task, sim.method)


def test_every_leaf_has_the_role_of_the_first_rule_found_in_its_path():
    sim, leaves = leaves_of(MIXED)
    given = {"fixed": FIXED, "generated": GENERATED, "personal": PERSONAL}
    model = [leaf for leaf in leaves if leaf.role not in ("embedding", "hypernetwork")]
    assert sorted(leaf.path for leaf in model) == sorted(sim.task.leaf_shapes())
    for leaf in model:
        fits = [(role, rule) for role, rules in given.items() for rule in rules if re.search(rule, leaf.path)]
        role, rule = next(iter(fits), ("shared", "."))
        assert (leaf.role, leaf.rule) == (role, rule), leaf.path
    assert {leaf.role for leaf in model} == {"shared", *given}


def test_shapes_and_bytes_are_those_of_the_state():
    sim, leaves = leaves_of("fedtp_per")
    state = sim.init()
    one = state._replace(rows=state.rows.take(np.array([2])))
    row = {path: leaf[0] for path, leaf in one.rows.items()}
    generated = {path: leaf[0] for path, leaf in sim.method.send(one)[1].items()}
    held = {"shared": state.shared, "personal": row, "embedding": row, "generated": generated}
    held["hypernetwork"] = state.generator
    for leaf in leaves:
        there = np.asarray(held[leaf.role][leaf.path])
        assert (leaf.shape, leaf.dtype, leaf.bytes) == (there.shape, str(there.dtype), there.nbytes)
    of_client = [leaf for leaf in leaves if leaf.role in ("personal", "embedding")]
    assert {leaf.path for leaf in of_client} == {path for path in row if "optimizer" not in path}
    assert {leaf.path for leaf in leaves if leaf.role == "hypernetwork"} == set(state.generator)


def test_what_a_method_has_beside_the_model_has_no_rule():
    _, leaves = leaves_of("fedrod")
    beside = {leaf.path: leaf.role for leaf in leaves if not leaf.rule}
    assert set(beside.values()) == {"personal"} and len(beside) == 2
    _, ditto = leaves_of("ditto")
    shared, own = ([leaf.path for leaf in ditto if leaf.role == role] for role in ("shared", "personal"))
    assert shared == own


@pytest.mark.parametrize("each", [False, True], ids=["in short", "each"])
def test_the_table_has_every_leaf_and_does_not_grow_with_the_depth(each):
    lines = []
    for depth in (2, 11):
        sim = simulator(MIXED, "vit")
        task = sim.task._replace(model=sim.task.model.clone(depth=depth))
        leaves = leaf_roles(task, make_method(MIXED, task))
        short = leaves_in_short(leaves)
        assert sum(line.count for line in short) == len(leaves)
        assert sum(line.bytes for line in short) == sum(leaf.bytes for leaf in leaves)
        for leaf in leaves:
            alike = [line for line in short if line.role == leaf.role]
            assert sum(bool(re.fullmatch(line.expression, leaf.path)) for line in alike) == 1
        lines.append(leaves_table(leaves, each).row_count)
        assert lines[-1] == len(leaves if each else short)
    assert (lines[0] == lines[1]) != each
