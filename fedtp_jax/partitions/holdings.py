"""Who holds how much of what, as a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fedtp_jax.data.dataset import Dataset
from fedtp_jax.partitions.partition import Partition

if TYPE_CHECKING:
    import pandas as pd


def holdings(partition: Partition, data: Dataset, names: Sequence[str] = ()) -> "pd.DataFrame":
    """A row for each client: client, name (where `names` are given), how many train examples it holds in all
    and of each class (train, train_CLASS, ...), and so of validation, if there is some, and of test examples.
    """
    import pandas as pd

    clients = range(partition.num_clients)
    table: dict[str, Any] = {
        "client": clients,
        **({"name": [*names]} if names else {}),
    }
    of_train, of_test, count = data.strata
    for split, shards, labels in (
        ("train", partition.train, of_train),
        ("validation", partition.validation, of_train),
        ("test", partition.test, of_test),
    ):
        if shards is None:
            continue
        table[split] = shards.sizes
        if data.task == "classification":
            counts = shards.class_counts(labels, count)
            table |= {f"{split}_{name}": counts[:, k] for k, name in enumerate(data.strata_names)}
    return pd.DataFrame(table)
