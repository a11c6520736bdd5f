"""Partitions by the partitioners of flwr-datasets."""

import numpy as np
import pytest
from partition_cases import assert_covers, balanced, dataset, lists

from fedtp_jax import UserError, from_flwr, simulate
from fedtp_jax.data.sources import load_data

datasets = pytest.importorskip("datasets", reason="datasets comes with the extra `flwr`")


class Dealt:
    """The interface alone: examples dealt one by one."""

    num_partitions = 3

    def load_partition(self, partition_id):
        return self.dataset.select(range(partition_id, len(self.dataset), 3))


def test_any_partitioner_of_that_interface():
    data = balanced(20, 9)
    partition = from_flwr(Dealt(), data, test=Dealt())
    assert lists(partition) == [[[*range(k, 20, 3)] for k in range(3)], [[*range(k, 9, 3)] for k in range(3)]]


def test_test_examples_are_in_proportion_to_train_examples():
    rng = np.random.default_rng(0)
    data = dataset(rng.integers(0, 4, 200), rng.integers(0, 5, 90))  # nobody trains on class 4
    partition = from_flwr(Dealt(), data)
    seen = []
    for label in range(5):
        trained, tested = data.train.y == label, data.test.y == label
        for mine, test in zip(partition.train, partition.test, strict=True):
            share = trained[mine].sum() / max(trained.sum(), 1)
            assert abs(tested[test].sum() - share * tested.sum()) < 1
            seen += test[tested[test]].tolist()
    assert sorted(seen) == np.flatnonzero(data.test.y < 4).tolist()
    assert from_flwr(Dealt(), data).fingerprint() == partition.fingerprint()


def flower():
    """Partitioners of flwr-datasets, each made anew, by name."""
    flwr = pytest.importorskip("flwr_datasets.partitioner", reason="it comes with the extra `flwr`")
    return {
        "iid": lambda: flwr.IidPartitioner(5),
        "dirichlet": lambda: flwr.DirichletPartitioner(5, "label", 0.5, min_partition_size=1),
        "pathological": lambda: flwr.PathologicalPartitioner(5, "label", 6, seed=1),
        "shard": lambda: flwr.ShardPartitioner(5, "label", num_shards_per_partition=2),
        "linear": lambda: flwr.LinearPartitioner(5),
        "natural": lambda: flwr.NaturalIdPartitioner("group"),
    }


@pytest.mark.filterwarnings("ignore:Specifying null_placement")  # of datasets to pyarrow
@pytest.mark.parametrize("name", ["iid", "dirichlet", "pathological", "shard", "linear", "natural"])
def test_partitioners_of_flwr_datasets(name):
    make, rng = flower()[name], np.random.default_rng(1)
    groups = rng.integers(0, 5, 300).astype(np.int32), rng.integers(0, 5, 100).astype(np.int32)
    data = dataset(rng.permutation(300) % 10, rng.permutation(100) % 10, *groups)
    partition = from_flwr(make(), data, test=make())
    for shards, part in zip(partition[:2], (data.train, data.test), strict=True):
        # what it gives of these labels by itself
        alone = make()
        columns = {"label": part.y.tolist(), "group": part.group.tolist(), "row": [*range(len(part))]}
        alone.dataset = datasets.Dataset.from_dict(columns)
        assert [shard.tolist() for shard in shards] == [[*alone.load_partition(k)["row"]] for k in range(5)]
    assert_covers(partition, data)
    partition.check(data)


def test_a_run():
    data = load_data("digits")
    partition = from_flwr(flower()["dirichlet"](), data)
    result = simulate(
        data=data,
        partition=partition,
        model={"name": "mlp", "hidden": 4},
        method="fedavg",
        training={"rounds": 1, "cohort_size": 2},
    )
    assert result.clients["train_examples"].tolist() == [len(shard) for shard in partition.train]


def test_what_a_partitioner_refuses_is_told():
    make, data = flower(), balanced(100, 20)
    used = make["iid"]()
    from_flwr(used, data)
    with pytest.raises(
        UserError, match=r"partitioner: IidPartitioner does not .* only once .*columns label$"
    ):
        from_flwr(used, data)
    with pytest.raises(UserError, match=r"partitioner: NaturalIdPartitioner does not part the train .*group"):
        from_flwr(make["natural"](), data)
    y, z, of = np.arange(50) % 3, np.arange(20) % 3, np.arange(50) % 4
    with pytest.raises(UserError, match="test: its partitions have other names"):
        from_flwr(make["natural"](), dataset(y, z, of, z), test=make["natural"]())
