"""The pictures of a result, each a Matplotlib figure: a notebook shows it, `figure.savefig(...)` keeps it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fedtp_jax.data.federated import Dataset, Partition
from fedtp_jax.errors import UserError
from fedtp_jax.methods.base import EMBEDDING, State
from fedtp_jax.task import TaskShape

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Views:
    """What `Result` can draw; Matplotlib is imported when the first picture is asked for."""

    history: pd.DataFrame
    clients: pd.DataFrame
    state: State
    partition: Partition
    task: TaskShape
    intermediates: Callable[[int, np.ndarray], dict[str, Any]]

    def plot_curves(self) -> "Figure":
        """Accuracy and loss over the rounds."""
        from fedtp_jax.plots import learning_curves

        return learning_curves(self.history)

    def plot_clients(self) -> "Figure":
        """Every client's accuracy, worst first, with the mean and the worst tenth."""
        from fedtp_jax.plots import client_accuracies

        return client_accuracies(self.clients)

    def plot_gains(self, other: "Views", name: str = "this run", than: str = "the other") -> "Figure":
        """Who gains and who loses against another run on the same clients, such as one of `local`."""
        from fedtp_jax.pictures import gains

        if self.task.partition != other.task.partition:
            raise UserError(
                "other: has another partition, so its clients are not these; run both with the same data, "
                "partition and seed"
            )
        own, others = (run.clients["test_accuracy"].to_numpy(float) for run in (self, other))
        return gains(own, others, name, than)

    def plot_partition(self, data: Dataset) -> "Figure":
        """Who holds which classes of the run's own data."""
        from fedtp_jax.plots import partition_bubbles

        return partition_bubbles(self._class_counts(data))

    def plot_embeddings(self, data: Dataset) -> "Figure":
        """Clients by the principal components of their embeddings, by the class they hold most of."""
        from fedtp_jax.pictures import embedding_map

        if EMBEDDING not in self.state.rows.paths:
            raise UserError("method: has no embeddings to draw; choose fedtp, fedtp_per, fedtp_rod or pfedhn")
        counts = self._class_counts(data)
        embeddings = self.state.rows.take(np.arange(len(counts)), [EMBEDDING])[EMBEDDING]
        return embedding_map(embeddings, counts.argmax(1))

    def plot_attention(
        self, client: int, images: np.ndarray, others: "Mapping[str, Views] | None" = None
    ) -> "Figure":
        """What `client`'s ViT looks at in images [B, H, W, C], here and in other runs {name: run}."""
        from fedtp_jax.attention import attention_weights, rollout
        from fedtp_jax.pictures import attention_maps

        runs = {"this run": self, **(others or {})}
        sown = {name: run.intermediates(client, images) for name, run in runs.items()}
        looks = {name: rollout(attention_weights(found)) for name, found in sown.items()}
        return attention_maps(images, looks)

    def _class_counts(self, data: Dataset) -> np.ndarray:
        """[N, C] train examples of each class that each client holds."""
        if data.fingerprint() != self.task.data:
            raise UserError("data: are not those that the run was trained on; give the run's own")
        return self.partition.train.class_counts(data.train.y, data.num_classes)
