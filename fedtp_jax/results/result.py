"""What comes out of a simulation: tables, the final state, and every client's variables."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from fedtp_jax.config import Natural, SimulationConfig, name_of
from fedtp_jax.core import hosts, rng, tree
from fedtp_jax.core.errors import UserError, user_path
from fedtp_jax.core.jax_settings import under_our_settings
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.engine.mesh import open_mesh
from fedtp_jax.evaluation.novel_clients import Adaptation, NovelClients
from fedtp_jax.learning.method import Method, State
from fedtp_jax.learning.task import Task
from fedtp_jax.partitions.make import make_partition
from fedtp_jax.partitions.partition import Partition, Shards
from fedtp_jax.results.inputs import model_inputs
from fedtp_jax.results.notes import excluded_uploads
from fedtp_jax.results.novel_table import Personalized, personalize
from fedtp_jax.results.pictures import Pictures
from fedtp_jax.results.reached import reached
from fedtp_jax.simulation.data_spec import DataSpec, in_classes_of
from fedtp_jax.simulation.participation import held_out_clients
from fedtp_jax.storage.checkpoints import Saved
from fedtp_jax.storage.csv_log import csv_rows, numbers_table
from fedtp_jax.storage.run_folder import CLIENTS
from fedtp_jax.storage.stored_result import StoredResult, initial_state, read_result, write_result

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Result(Pictures):
    """A finished simulation.

    Attributes:
      config: the configuration it ran with.
      history: a row per round: round, clients that were drawn, clients that returned, stragglers among them,
        share_done (of its local steps, mean over these clients), void (1 if too few returned), excluded (how
        many returned what is not finite) and excluded_clients (their ids), examples, bytes_down and bytes_up
        (of all clients), train_loss, and for evaluated rounds test_accuracy (pooled over examples),
        test_client_mean, test_client_std, test_worst_decile, test_loss, clients_tested, clients_without_test,
        clients_untrained (of those tested), test_accuracy_trained, test_accuracy_untrained; with
        evaluation.adapt adapted_accuracy and so on, and with validation shards val_accuracy and so on, as the
        test_ columns to test_loss. Accuracies are fractions.
      clients: a row per client of the last evaluation (empty before the first): client, name (where the data
        name groups), train_examples, test_examples, test_correct, test_accuracy, test_accuracy_mean (over the
        last evaluations), test_loss (NaN without test examples, and for clients that are not evaluated),
        trained_rounds, excluded_rounds (whose upload was not finite); with evaluation.adapt adapted_accuracy,
        adapted_accuracy_mean, adapted_loss; with validation shards val_examples, val_correct, val_accuracy,
        val_loss.
      state: shared leaves, the clients' rows (rows.take(ids)), the hypernetwork and its optimizer.
      partition: who held which examples.
      data_spec: shapes and fingerprints of the data.
      compiled: how many programs were compiled, for all seeds of the call until then, and the seconds that
        took; empty for a loaded result.
      missing: files of the run's folder that could not be written, such as "report.html"; with space again
        a resume of the run writes them.
      kept_best: what checkpoint.best has kept, of which `best` is made.
    """

    config: SimulationConfig
    history: "pd.DataFrame"
    clients: "pd.DataFrame"
    state: State
    partition: Partition
    data_spec: DataSpec
    compiled: dict[str, float]
    missing: tuple[str, ...] = ()
    kept_best: Saved | None = dataclasses.field(default=None, repr=False)

    @functools.cached_property
    def best(self) -> "Result":
        """The result as it stood after the best round by `checkpoint.best`; UserError if none was kept."""
        import pandas as pd

        if (saved := self.kept_best) is None:
            raise UserError("result.best: none was kept; run with partition.validation and checkpoint.best")
        tables = numbers_table(saved.history), pd.DataFrame(csv_rows(saved.logs[CLIENTS]))
        return _restored(self.config, *tables, saved, self.partition, self.data_spec, {})

    @property
    def accuracy(self) -> dict[str, float]:
        """The last evaluation, and mean and std of the pooled accuracy over the last k evaluations.

        Never the best round: choosing it on test data would flatter every method.
        """
        return reached(self.history, "test", self.config.evaluation.last)

    @property
    def adapted(self) -> dict[str, float] | None:
        """As `accuracy`, of the clients after they have adapted; None without evaluation.adapt."""
        evaluation = self.config.evaluation
        return reached(self.history, "adapted", evaluation.last) if evaluation.adapt.asked_for else None

    @functools.cached_property
    def _built(self) -> tuple[Task, Method]:
        return self.data_spec.build(self.config)

    @property
    def model(self) -> Any:
        """The Flax module that `variables` belong to."""
        return self._built[0].model

    @under_our_settings
    def variables(self, client: int) -> dict[str, Any]:
        """The Flax variables that `client` would run now, for `result.model.apply(variables, inputs)`.

        The model takes normalised inputs; `predict` takes them as they are, and heeds what a method has
        beside the model (FedRod's personal head, FedProto's prototypes).
        """
        return tree.unflatten(self._leaves(client))

    @under_our_settings
    def predict(self, client: int, x: np.ndarray) -> jax.Array:
        """Logits [B, classes] by `client`'s own leaves for inputs [B, ...] as the data set holds them.

        For text x [B, T] are codes of characters and logits are [B, T, classes]. Nearest neighbours, which
        need the client's examples, take no part.
        """
        return self._built[1].predict(self._leaves(client), model_inputs(self.data_spec, x)).logits

    @under_our_settings
    def intermediates(self, client: int, x: np.ndarray) -> dict[str, Any]:
        """What `client`'s model sows into the collection "intermediates" on inputs as `predict` takes them.

        {layer: {..., name: (array,)}}: features [B, F], and of the ViT attention weights of each block.
        """
        task, inputs = self._built[0], model_inputs(self.data_spec, x)
        options = {"mutable": ["intermediates"], **task.options(train=False)}
        _, found = task.model.apply(self.variables(client), inputs, **options)
        return dict(found.get("intermediates", {}))

    def _leaves(self, client: int) -> tree.Leaves:
        self._check_client(client)
        one = self.state._replace(rows=self.state.rows.take(np.array([client])))
        shared, rows = self._built[1].variables(one)
        return {**shared, **{path: leaf[0] for path, leaf in rows.items()}}

    @under_our_settings
    def personalize(
        self,
        data: Dataset,
        *,
        modes: Sequence[str] | None = None,
        epochs: int = 10,
        learning_rate: float | None = None,
        embedding_learning_rate: float | None = None,
    ) -> Personalized:
        """What clients that never trained reach with this result: at once, by fitting, by training all.

        Args:
          data: their examples, from `from_arrays`; every group is a client, without groups all is one's.
          modes: some of zero_shot, fit, fine_tune, local; default: all that the method has.
          epochs: passes over a client's train examples.
          learning_rate, embedding_learning_rate: default: those of the training and of its hypernetwork.

        Raises:
          UserError: the data do not fit the model, or the method has no such mode.
        """
        if not isinstance(data, Dataset):
            raise UserError(
                f"data: got a {type(data).__name__}, expected what fedtp_jax.from_arrays(x, y) returns"
            )
        theirs, own = DataSpec.of(data, self.partition), self.data_spec
        if (theirs.input_shape, theirs.dtype) != (own.input_shape, own.dtype) or (
            theirs.num_classes > own.num_classes
        ):
            raise UserError(
                f"data: {theirs.dtype} examples of shape {list(theirs.input_shape)} and {theirs.num_classes} "
                f"classes, but the result was trained on {own.dtype}, {list(own.input_shape)} and "
                f"{own.num_classes}; bring them to one form"
            )
        if data.train.group is None:
            whole = [Shards.from_lists([np.arange(len(part))]) for part in (data.train, data.test)]
            partition = Partition(whole[0], whole[1])
        else:
            partition = make_partition(Natural(), data, 0)
        data = dataclasses.replace(in_classes_of(own, data), mean=own.mean, std=own.std)
        ids = np.arange(partition.num_clients)
        settings = Adaptation(epochs, learning_rate, embedding_learning_rate)
        return self._personalize(data, partition, data.group_names, ids, modes, settings)

    @under_our_settings
    def personalize_held_out(
        self,
        data: Dataset,
        clients: Sequence[int] | None = None,
        modes: Sequence[str] | None = None,
        settings: Adaptation | None = None,
    ) -> Personalized:
        """As `personalize`, for clients (default: all) that this run held out; `data` are the run's own."""
        held_out = self._held_out()
        if not len(held_out):
            raise UserError(
                "training.held_out: 0, so every client took part in training; run with training.held_out=10, "
                "or give data of other clients to Result.personalize"
            )
        wanted = np.asarray(held_out if clients is None else clients)
        if wanted.dtype.kind not in "iu" or wanted.ndim != 1 or not len(wanted):
            raise UserError(f"clients: got {clients!r}, expected ids of held-out clients, such as [3, 7]")
        ids = np.unique(wanted)
        if len(strangers := np.setdiff1d(ids, held_out)):
            raise UserError(
                f"clients: client {strangers[0]} is not one of the held-out clients "
                f"{', '.join(map(str, held_out))}; choose among these"
            )
        if data.fingerprint() != self.data_spec.data:
            raise UserError(
                f"data: has fingerprint {data.fingerprint()}, but the run was trained on "
                f"{self.data_spec.data}; give the run's own data"
            )
        return self._personalize(data, self.partition, self._names, ids, modes, settings or Adaptation())

    def _personalize(
        self,
        data: Dataset,
        partition: Partition,
        names: Sequence[str],
        ids: np.ndarray,
        modes: Sequence[str] | None,
        settings: Adaptation,
    ) -> Personalized:
        trained = np.setdiff1d(np.flatnonzero(self.state.rows.trained), self._held_out())
        if not len(trained):
            raise UserError(
                "result: no client has trained yet, so there is no mean client to begin with; run more rounds"
            )
        mesh = open_mesh("auto", before=self.config.engine.devices)
        ours = self.config, *self._built, self.state, trained
        novel = NovelClients(*ours, data, partition, ids, mesh, names)
        return personalize(novel, name_of(self.config.method), modes, settings)

    def _held_out(self) -> np.ndarray:
        """Ids of the clients that this run held out."""
        if self.config.training.held_out and self.data_spec.streams != rng.STREAMS:
            raise UserError(
                "training.held_out: the run is of fedtp_jax 0.1.0, whose random streams are others, so who "
                "was held out is not known here; pip install fedtp_jax==0.1.0, or run it anew"
            )
        return held_out_clients(self.config, self.partition.train.sizes)

    @under_our_settings
    def save(self, path: str | Path) -> None:
        """Write the result as a run's folder; `path` must not exist or be empty."""
        parts = self.config, self.history, self.clients, self.state, self.partition, self.data_spec
        stored = StoredResult(*parts, self.kept_best)
        hosts.on_first(functools.partial(write_result, user_path(path), stored))

    @classmethod
    @under_our_settings
    def load(cls, path: str | Path, **own: Any) -> "Result":
        """The result in a run's folder, as it stood at its newest readable checkpoint.

        `own`: the parts (model, method, partition) that `simulate` was given and no file can hold.
        """
        stored = read_result(user_path(path), own)
        return cls(*stored[:-1], {}, kept_best=stored.best)

    def __reduce__(self) -> tuple[Any, ...]:
        """Results travel to other processes: rows that were never written are functions, and made again."""
        tables, told = (
            (self.history, self.clients, Saved.of(self.state)),
            (self.compiled, self.missing, self.kept_best),
        )
        return _restored, (self.config, *tables, self.partition, self.data_spec, *told)

    def __repr__(self) -> str:
        a, b = self.accuracy, self.adapted
        several = f" mean of the last {a['evaluations']} evaluations {a['mean']:.3f} ± {a['std']:.3f},"
        lost = excluded_uploads(self.history)
        adapted = f", adapted {b['last']:.3f}" if b else ""
        return (
            f"Result({name_of(self.config.method)}, {a['round']} rounds, "
            f"{self.data_spec.num_clients} clients: "
            f"test accuracy {a['last']:.3f},{several * (a['evaluations'] > 1)} "
            f"worst decile {a['worst_decile']:.3f}{adapted}{lost and f'; {lost} not finite, left out'})"
        )


def _restored(
    config: SimulationConfig,
    history: "pd.DataFrame",
    clients: "pd.DataFrame",
    saved: Saved,
    partition: Partition,
    spec: DataSpec,
    *told: Any,
) -> Result:
    """The inverse of `Result.__reduce__`."""
    state = saved.state(initial_state(config, spec).population(config.engine.rows))
    return Result(config, history, clients, state, partition, spec, *told)
