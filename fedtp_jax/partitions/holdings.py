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
    classes = data.class_names or [*map(str, range(data.num_classes))]
    for split, shards, labels in (
        ("train", partition.train, data.train.y),
        ("validation", partition.validation, data.train.y),
        ("test", partition.test, data.test.y),
    ):
        if shards is None:
            continue
        counts = shards.class_counts(labels, data.num_classes)
        table[split] = shards.sizes
        table |= {f"{split}_{name}": counts[:, number] for number, name in enumerate(classes)}
    return pd.DataFrame(table)
