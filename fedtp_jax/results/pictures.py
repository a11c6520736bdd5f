"""The pictures of a result, each a Matplotlib figure: a notebook shows it, `figure.savefig(...)` keeps it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fedtp_jax.config import Arrays, Cifar100, SimulationConfig, name_of
from fedtp_jax.config.convert import show
from fedtp_jax.config.metrics import headline_of
from fedtp_jax.config.plain import plain_values
from fedtp_jax.core.client_names import IN_PICTURES, called
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.jax_settings import under_our_settings
from fedtp_jax.data.dataset import Dataset, Examples
from fedtp_jax.data.sources import load
from fedtp_jax.learning.method import EMBEDDING, State
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.partitions.superclass import SUPERCLASS_OF
from fedtp_jax.simulation.data_spec import DataSpec

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from fedtp_jax.comparison.compare import Comparison
    from fedtp_jax.plots.clients import Embedded


class Pictures:
    """How `Result` is looked at; Matplotlib is imported when the first picture is asked for."""

    config: SimulationConfig
    history: "pd.DataFrame"
    clients: "pd.DataFrame"
    timing: "pd.DataFrame"
    clients_history: "pd.DataFrame | None"
    state: State
    partition: Partition
    data_spec: DataSpec
    intermediates: Callable[[int, np.ndarray], dict[str, Any]]

    def compare(
        self,
        *others: "Pictures",
        metric: str | None = None,
        target: float | None = None,
    ) -> "Comparison":
        """This run beside others, as `fedtp_jax.compare` of all of them."""
        from fedtp_jax.comparison.compare import compare

        return compare([self, *others], metric, target)

    def plot_curves(self, over: Literal["rounds", "time"] = "rounds") -> "Figure":
        """Accuracy and loss over the rounds, or over the virtual time of training.clock."""
        from fedtp_jax.plots.curves import COLUMNS, learning_curves

        if over not in COLUMNS:
            raise UserError(f"over: got {over!r}; choose rounds or time")
        if COLUMNS[over] not in self.history:
            raise UserError(f"over: got {over!r}, but the run has no clock; run it with training.clock.speed")
        return learning_curves(self.history, over)

    def plot_clients(self) -> "Figure":
        """Every client's accuracy, worst first, with the mean and the worst tenth."""
        from fedtp_jax.plots.clients import client_accuracies

        return client_accuracies(self.clients)

    def plot_gains(self, other: "Pictures", name: str | None = None, than: str | None = None) -> "Figure":
        """Who gains and who loses against another run on the same clients, such as one of `local`.

        `name` and `than` are what the runs are called; default: their methods' names, if these differ.
        """
        from fedtp_jax.plots.gains import gains

        _check_results([other])
        if self.data_spec.partition != other.data_spec.partition:
            raise UserError(
                "other: has another partition, so its clients are not these; run both with the same data, "
                "partition and seed"
            )
        measures = [headline_of(run.clients.columns) for run in (self, other)]
        if measures[0] != measures[1]:
            raise UserError(
                f"other: measures {measures[1]}, but this run {measures[0]}; compare like with like"
            )
        own, others = (run.clients[f"test_{measures[0]}"].to_numpy(float) for run in (self, other))
        names = name_of(self.config.method), name_of(other.config.method)
        if names[0] == names[1]:
            names = "this run", "the other"
        called_so = name or names[0], than or names[1], self._names or other._names
        return gains(own, others, *called_so, measures[0])

    def plot_partition(self, data: Dataset | None = None) -> "Figure":
        """Who holds which classes; `data`: the run's own, needed where no configuration names them."""
        from fedtp_jax.plots.partition import partition_bubbles

        data = self._own_data(data)
        return partition_bubbles(self._class_counts(data), data.strata_names, self._names)

    @under_our_settings
    def plot_embeddings(
        self,
        data: Dataset | None = None,
        projection: Literal["pca", "tsne"] = "pca",
        superclass: Sequence[int] | None = None,
    ) -> "Figure":
        """Clients by their embeddings in two dimensions, by the class that they hold most of.

        Args:
          data: the run's own, needed where no configuration names them.
          projection: "pca" keeps distances, "tsne" neighbours.
          superclass: the superclass of each class, by which to colour instead; CIFAR-100's by default.
        """
        from fedtp_jax.plots.clients import embedding_map

        if projection not in ("pca", "tsne"):
            raise UserError(f"projection: got {projection!r}; choose pca or tsne")
        counts = self._class_counts(data)
        if superclass is not None and np.shape(superclass) != counts.shape[1:]:
            raise UserError(
                f"superclass: got {show(superclass)}, expected one for each of {counts.shape[1]} classes"
            )
        if EMBEDDING not in self.state.rows.paths:
            raise UserError("method: has no embeddings to draw; choose fedtp, fedtp_per, fedtp_rod or pfedhn")
        embedded = embedded_clients(self, counts, projection, superclass)
        if embedded is None:
            numbers = self.config.method.hypernetwork.embedding
            shape = f"{count_of(self.data_spec.num_clients, 'client')} of {count_of(numbers, 'number')}"
            raise UserError(f"embeddings: {shape}; a picture needs at least 3 clients and 3 numbers")
        return embedding_map(embedded)

    @under_our_settings
    def plot_attention(self, client: int, *others: "Pictures", images: np.ndarray | None = None) -> "Figure":
        """What `client`'s ViT looks at in images [B, H, W, C], here and in other runs.

        `images`: default: three of the client's own test images.
        """
        from fedtp_jax.evaluation.attention import attention_weights, rollout
        from fedtp_jax.plots.attention import attention_maps

        _check_results(others)
        images = self._test_images(client, 3) if images is None else images
        runs: dict[str, Pictures] = {}
        for run in (self, *others):
            name = name_of(run.config.method)
            runs[name if name not in runs else f"{name} ({len(runs) + 1})"] = run
        sown = {name: run.intermediates(client, images) for name, run in runs.items()}
        looks = {name: rollout(attention_weights(found)) for name, found in sown.items()}
        return attention_maps(images, looks)

    @under_our_settings
    def plot_attention_distances(self, clients: Sequence[int], images: np.ndarray | None = None) -> "Figure":
        """How differently clients' ViTs look at the same images [B, H, W, C].

        `images`: default: three test images of the first of `clients`.
        """
        from fedtp_jax.evaluation.attention import attention_distances, attention_weights
        from fedtp_jax.plots.attention import distance_matrix

        if np.ndim(clients) != 1 or not len(clients):
            raise UserError(f"clients: got {show(clients)}, expected ids of clients, such as [0, 1, 2]")
        images = self._test_images(clients[0], 3) if images is None else images
        weights = [attention_weights(self.intermediates(client, images)) for client in clients]
        title = f"Distance between clients' attention on {count_of(len(images), 'image')}"
        names = [called(client, self._names, IN_PICTURES) for client in clients]
        return distance_matrix(attention_distances(weights), names, title)

    @property
    def _names(self) -> Sequence[str]:
        """[N] of the clients, empty where the data give none."""
        return list(self.clients["name"]) if "name" in self.clients else []

    def _check_client(self, client: int) -> None:
        """Raise UserError unless it is one of the run's."""
        if type(plain_values(client)) is not int or not 0 <= client < self.data_spec.num_clients:
            last = self.data_spec.num_clients - 1
            raise UserError(f"client: got {client!r}, expected a whole number from 0 to {last}")

    def _test_images(self, client: int, count: int) -> np.ndarray:
        self._check_client(client)
        data = self._own_data(None, "images")
        if not isinstance(data.test, Examples):
            raise UserError("data: is text, which has no images to draw")
        held = self.partition.test[client][:count]
        if not len(held):
            who = called(client, self._names)
            raise UserError(f"images: client {who} has no test examples; give images=...")
        return data.test.x[held]

    def _class_counts(self, data: Dataset | None) -> np.ndarray:
        """[N, C] train examples of each class that each client holds."""
        data = self._own_data(data)
        return self.partition.train.class_counts(data.strata[0], data.strata[2])

    def _own_data(self, data: Dataset | None, field: str = "data") -> Dataset:
        """The data that the run was trained on; `field`: the argument by which they could be given."""
        if data is None:
            if isinstance(self.config.data, Arrays):
                raise UserError(
                    f"{field}: the run's data were made in Python, so no file has them; give them"
                )
            data = load(self.config.data, self.config.task.kind)
        if not isinstance(data, Dataset):
            raise UserError(
                f"data: got {show(data)}, expected the run's own, from fedtp_jax.load_data or from_arrays"
            )
        if data.fingerprint() != self.data_spec.data:
            raise UserError("data: are not those that the run was trained on; give the run's own")
        return data


def _check_results(others: Sequence[Any]) -> None:
    """Raise UserError unless they are results as well."""
    for other in others:
        if not isinstance(other, Pictures):
            raise UserError(
                f"other: got {show(other)}, expected a result of another run, such as Result.load gives"
            )


def embedded_clients(
    run: Pictures,
    counts: np.ndarray,
    projection: Literal["pca", "tsne"] = "pca",
    superclass: Sequence[int] | None = None,
) -> "Embedded | None":
    """What `plot_embeddings` draws, given clients' counts of classes [N, C]; None if there is no picture."""
    from fedtp_jax.plots.clients import Embedded, project

    if EMBEDDING not in run.state.rows.paths:
        return None
    embeddings = run.state.rows.take(np.arange(len(counts)), [EMBEDDING])[EMBEDDING]
    if min(embeddings.shape) < 3:
        return None
    what, names = "class", np.array(run.data_spec.class_names or range(counts.shape[1]))
    if run.config.task.kind != "classification":
        what, names = "", np.array(["a client"])
    if superclass is None and isinstance(run.config.data, Cifar100):
        superclass = SUPERCLASS_OF
    if superclass is not None:
        names, what = np.unique(superclass), "superclass"
        counts = counts @ (np.array(superclass)[:, None] == names)
    holds = [str(names[row.argmax()]) if row.any() else "none" for row in counts]
    every = [*map(str, names), "none"]
    return Embedded(*project(embeddings, projection), holds, every, what, run._names)
