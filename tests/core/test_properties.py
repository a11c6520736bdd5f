"""Whatever the sizes: schedules lose nobody, partitions neither lose nor share, rows and roles come back."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from population_rows import ROW, initial
from replay import replay

from fedtp_jax import UserError, config
from fedtp_jax.core import tree
from fedtp_jax.core.rng import Purpose, generator
from fedtp_jax.data.dataset import Dataset, Examples
from fedtp_jax.engine.population import Population
from fedtp_jax.engine.schedule import build_schedule, plan_layout, shuffled_batches, steps_of
from fedtp_jax.partitions.make import make_partition

FEW = settings(max_examples=60, deadline=None, derandomize=True, database=None)
PATHS = [f"params/{module}/{leaf}" for module in ("a", "b", "head") for leaf in ("kernel", "bias")]


@FEW
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=25).filter(any),
    devices=st.integers(1, 4),
    lanes=st.integers(1, 6),
    epochs=st.integers(1, 3),
    batch=st.integers(1, 9),
    seed=st.integers(0, 9),
)
def test_every_example_is_seen_once_an_epoch_in_an_order_of_its_client_alone(
    sizes, devices, lanes, epochs, batch, seed
):
    ends = np.cumsum([0, *sizes])
    batches = [
        shuffled_batches(np.arange(a, b), epochs, batch, generator(seed, Purpose.BATCHES, 0, k))
        for k, (a, b) in enumerate(itertools.pairwise(ends))
    ]
    steps = epochs * steps_of(np.array(sizes), batch)
    layout = plan_layout(np.sort(steps)[::-1], devices, lanes, batch)
    schedule = build_schedule(batches, layout)
    seen, _ = replay(schedule, layout)
    assert schedule.tables.positions.shape[1] == layout.ticks  # the bound on ticks holds
    assert sorted(seen) == np.flatnonzero(sizes).tolist()
    for k, lived in seen.items():
        expected = [p[:n].tolist() for p, n in zip(*batches[k][:2], strict=True)]
        assert [examples for _, examples in lived] == expected
        everything = np.concatenate(expected)
        assert np.array_equal(np.sort(everything), np.repeat(np.arange(ends[k], ends[k + 1]), epochs))


@FEW
@given(
    recipe=st.sampled_from(["iid", "dirichlet", "quantity", "pathological"]),
    clients=st.integers(1, 12),
    classes=st.integers(2, 5),
    train=st.integers(60, 200),
    test=st.integers(20, 90),
    seed=st.integers(0, 99),
)
def test_partitions_cover_the_examples_and_share_none(recipe, clients, classes, train, test, seed):
    random = np.random.default_rng(seed)

    def examples(count):
        labels = np.concatenate([np.arange(classes), random.integers(0, classes, count - classes)])
        return Examples(np.zeros((count, 1), np.uint8), random.permutation(labels).astype(np.int32))

    data = Dataset("random", examples(train), examples(test), classes)
    kind = config.PARTITIONS[recipe]
    options = {"min_size": 0} if recipe in ("dirichlet", "quantity") else {}
    try:
        partition = make_partition(kind(clients=clients, **options), data, seed)
    except UserError:
        assert recipe == "pathological"  # where the classes do not go round
        return
    for shards, count in ((partition.train, train), (partition.test, test)):
        assert len(shards) == clients
        assert np.array_equal(np.sort(shards.indices), np.arange(count))
    assert (
        partition.fingerprint() == make_partition(kind(clients=clients, **options), data, seed).fingerprint()
    )


@FEW
@given(roles=st.lists(st.sampled_from(["shared", "personal", "generated"]), min_size=6, max_size=6))
def test_roles_split_the_leaves_and_join_to_all(roles):
    rules = [(role, (f"^{path}$",)) for path, role in zip(PATHS, roles, strict=True)]
    found = tree.assign_roles(PATHS, rules)
    assert found == dict(zip(PATHS, roles, strict=True))
    leaves = {path: np.full(2, n) for n, path in enumerate(PATHS)}
    parts = [tree.select(leaves, found, role) for role in ("shared", "personal", "generated")]
    joined = {path: leaf for part in parts for path, leaf in part.items()}
    assert sum(map(len, parts)) == len(joined) == len(leaves)
    assert tree.flatten(tree.unflatten(joined)).keys() == leaves.keys()
    assert all(tree.flatten(tree.unflatten(joined))[path] is leaf for path, leaf in leaves.items())


@FEW
@given(
    values=st.lists(st.floats(-1e3, 1e3, width=32), min_size=4, max_size=4),
    factor=st.floats(-10, 10, width=32),
)
def test_sums_and_scales_are_leaf_by_leaf(values, factor):
    a, b = ({"x": np.float32(values[n]), "y": np.float32(values[n + 1])} for n in (0, 2))
    total = tree.scale(tree.add(a, b), np.float32(factor))
    for path in a:
        np.testing.assert_allclose(
            total[path], (a[path] + b[path]) * np.float32(factor), rtol=1e-6, atol=1e-30
        )


writes = st.lists(
    st.tuples(
        st.lists(st.integers(0, 6), unique=True), st.sampled_from(["a", "b", "both"]), st.integers(0, 99)
    ),
    max_size=8,
)


@FEW
@given(writes=writes)
def test_a_population_is_a_dictionary_of_rows(writes):
    population, model = Population(6, ROW, initial), {k: initial(np.array([k])) for k in range(6)}
    for ids, which, value in writes:  # an id of 6 is nobody's
        some = np.array(ids, np.int64)
        rows = {"a": np.full((len(ids), 2), value, np.float32), "b": np.full(len(ids), value, np.int32)}
        rows = rows if which == "both" else {which: rows[which]}
        population.put(some, rows)
        for k in set(ids) - {6}:
            model[k] = {**model[k], **{path: leaf[:1] for path, leaf in rows.items()}}
        everybody = population.take(np.arange(6))
        for k in range(6):
            for path in ROW:
                np.testing.assert_array_equal(everybody[path][k], model[k][path][0])


def test_an_expression_that_matches_nothing_is_told_all_leaves():
    """What is listed are expressions too, and no two numbers are called alike."""
    blocks = [f"params/blocks/{k}/kernel" for k in range(12)]
    dense = [f"params/Dense_{k}/{leaf}" for k in range(3) for leaf in ("kernel", "bias")]
    uneven = ["params/a_0/b_0/c", "params/a_0/b_1/c", "params/a_1/b_1/c"]
    with pytest.raises(UserError) as told:
        tree.assign_roles([*blocks, *dense, *uneven, "params/scale"], [("personal", ["head/"])])
    listed = str(told.value).partition("the leaves are ")[2].split(", ")
    assert listed == [
        "params/Dense_[0-2]/bias",
        "params/Dense_[0-2]/kernel",
        *uneven,
        "params/blocks/(0|1|2|3|4|5|6|7|8|9|10|11)/kernel",
        "params/scale",
    ]
    tree.assign_roles([*blocks, *dense, *uneven, "params/scale"], [("personal", listed)])
