"""Who holds what by a partitioner of Flower's package `flwr-datasets`: `from_flwr`."""

from typing import Any

import numpy as np

from fedtp_jax.core.errors import UserError, in_one_line
from fedtp_jax.core.rng import Purpose, generator
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.partitions.partition import Partition, Shards
from fedtp_jax.partitions.recipes import in_proportion


def from_flwr(partitioner: Any, data: Dataset, test: Any = None) -> Partition:
    """The partition of a data set by partitioners of flwr-datasets (extra `flwr`).

    They see a row for each example, in the columns `label`, whole numbers 0 to C - 1, and, where the data
    have groups, `group`, their names or numbers: DirichletPartitioner(10, partition_by="label", alpha=0.3).

    Args:
        partitioner: one of flwr_datasets.partitioner that was not used before, or of your own with the same
            interface (`dataset`, which is set, `num_partitions` and `load_partition`). Client k holds its
            partition k of the train examples.
        data: the data set, of `from_arrays` or `load_data`.
        test: a second one, for the test examples. Without it each client gets test examples of every class
            in proportion to its train examples of it; those of a class that nobody holds are left out.

    Returns:
        Partition, to be given as simulate(data=data, partition=...).

    Raises:
        UserError: no `datasets`, a partitioner that fails or was used before, or partitions of train and
            test that are not of the same clients.
    """
    held = _held("partitioner", partitioner, data, "train")
    if test is None:
        return Partition(Shards.from_lists(held), _in_proportion(Shards.from_lists(held), data))
    tested = _held("test", test, data, "test")
    by_name = [getattr(one, "partition_id_to_natural_id", None) for one in (partitioner, test)]
    if by_name[0] != by_name[1]:
        raise UserError(
            "test: its partitions have other names than those of the train examples; use partition natural"
        )
    return Partition.from_lists(held, tested)


def _held(field: str, partitioner: Any, data: Dataset, split: str) -> list[np.ndarray]:
    """The positions in each partition of the examples of a split."""
    try:
        import datasets
    except ImportError:
        raise UserError(
            "partition: needs flwr-datasets; install it with pip install 'fedtp_jax[flwr]'"
        ) from None
    examples = data.train if split == "train" else data.test
    columns: dict[str, Any] = {"position": np.arange(len(examples))}
    if data.task == "classification":
        columns["label"] = examples.y.astype(np.int64)
    if examples.group is not None:
        names = np.array(data.group_names) if data.group_names else np.arange(int(examples.group.max()) + 1)
        columns["group"] = names[examples.group]
    try:
        partitioner.dataset = datasets.Dataset.from_dict(columns)
        parts = [partitioner.load_partition(k) for k in range(partitioner.num_partitions)]
        return [np.asarray(part["position"][:], np.int64) for part in parts]
    except Exception as error:  # each partitioner has its own
        raise UserError(
            f"{field}: {type(partitioner).__name__} does not part the {split} examples of {data.name} "
            f"({in_one_line(error)}); give one of flwr_datasets.partitioner that was not used before, by "
            f"{'the columns ' + ', '.join([*columns][1:]) if len(columns) > 1 else 'no column'}"
        ) from error


def _in_proportion(train: Shards, data: Dataset) -> Shards:
    """Test examples, class by class as their train examples are held."""
    of_train, of_test, count = data.strata
    rng, counts = generator(0, Purpose.PARTITION), train.class_counts(of_train, count)
    owner = np.full(len(data.test), -1)
    for label in np.flatnonzero(counts.any(0)):
        members = rng.permutation(np.flatnonzero(of_test == label))
        owner[members] = in_proportion(rng, counts[:, label], len(members))
    kept = np.flatnonzero(owner >= 0)
    shards = Shards.from_owners(owner[kept], len(train))
    return Shards(kept[shards.indices], shards.offsets)
