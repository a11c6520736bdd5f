"""What comes out of a simulation: tables, the final state, and every client's variables."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from fedtp_jax.config import SimulationConfig, name_of
from fedtp_jax.config.metrics import measure_names
from fedtp_jax.core import hosts, tree
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError, user_path
from fedtp_jax.core.jax_settings import under_our_settings
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.learning.leaf_roles import leaf_roles
from fedtp_jax.learning.method import State
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.results.confusion import class_table, confusion_counts, confusion_table, measures_table
from fedtp_jax.results.inputs import model_inputs
from fedtp_jax.results.new_clients import NewClients
from fedtp_jax.results.notes import excluded_uploads
from fedtp_jax.results.reached import headline, reached
from fedtp_jax.results.save import save_result
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.storage.checkpoints import Saved
from fedtp_jax.storage.csv_log import csv_rows, numbers_table
from fedtp_jax.storage.run_folder import CLIENTS
from fedtp_jax.storage.stored_result import clients_history, initial_state, read_result

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Result(NewClients):
    """A finished simulation.

    Attributes:
      config: the configuration it ran with.
      history: a row per round: round, clients that were drawn, clients that returned, stragglers among them,
        share_done (of its local steps, mean over these clients), void (1 if too few returned), excluded (how
        many returned what is not finite) and excluded_clients (their ids), examples, bytes_down and bytes_up
        (of all clients), with a clock virtual_seconds (of the round) and virtual_time (since the start, s),
        train_loss, and for evaluated rounds test_accuracy (pooled over examples), test_client_mean,
        test_client_std, test_worst_decile, test_loss, clients_tested, clients_without_test, clients_untrained
        (of those tested), test_accuracy_trained, test_accuracy_untrained; with evaluation.adapt
        adapted_accuracy and so on, with validation shards val_accuracy, with evaluation.fit fit_accuracy
        (on train shards), as the test_ columns to test_loss. Accuracies are fractions. In
        regression mae stands for accuracy, and mae_client_mean for client_mean. Each measure beside accuracy
        that evaluation.metrics names has columns of its own after the loss: test_f1_macro, and
        test_f1_macro_client_mean and so on. Of a private run epsilon, beside adversaries honest_accuracy.
      clients: a row per client of the last evaluation (empty before the first): client, name (where the data
        name groups), train_examples, test_examples, test_correct, test_accuracy, test_accuracy_mean (over the
        last evaluations), test_loss (NaN without test examples, and for clients that are not evaluated),
        trained_rounds, excluded_rounds (whose upload was not finite); with evaluation.adapt adapted_accuracy,
        adapted_accuracy_mean, adapted_loss; with validation shards val_examples, val_correct, val_accuracy,
        val_loss; with evaluation.fit fit_accuracy and so on; after the loss further measures, test_f1_macro.
      timing: a row per round: round, train_seconds, host_seconds (beside the devices' work),
        evaluation_seconds, examples_per_second, clients_per_second, occupancy.
      state: shared leaves, the clients' rows (rows.take(ids)), the hypernetwork and its optimizer.
      partition: who held which examples.
      data_spec: shapes and fingerprints of the data.
      compiled: how many programs were compiled, for all seeds of the call until then, and the seconds that
        took; empty for a loaded result.
      init: {path: leaf} of the variables that it was given to start from; None: its seed drew them.
      missing: files of the run's folder that could not be written, such as "report.html"; with space again
        a resume of the run writes them.
      kept_best: what checkpoint.best has kept, of which `best` is made.
      ended: whether it came to its end; False of a result that was loaded while rounds were left to do.
      clients_history: with evaluation.clients_history a row per evaluation and tested client: round, client,
        and what `clients` says of that evaluation alone; else None.
    """

    config: SimulationConfig
    history: "pd.DataFrame"
    clients: "pd.DataFrame"
    timing: "pd.DataFrame"
    state: State
    partition: Partition
    data_spec: DataSpec
    compiled: dict[str, float]
    init: Mapping[str, Any] | None = dataclasses.field(default=None, repr=False)
    missing: tuple[str, ...] = ()
    kept_best: Saved | None = dataclasses.field(default=None, repr=False)
    clients_history: "pd.DataFrame | None" = dataclasses.field(default=None, repr=False)
    ended: bool = True

    @functools.cached_property
    def best(self) -> "Result":
        """The result as it stood after the best round by `checkpoint.best`; UserError if none was kept."""
        import pandas as pd

        if (saved := self.kept_best) is None:
            raise UserError("result.best: none was kept; run with partition.validation and checkpoint.best")
        history, clients = numbers_table(saved.history), pd.DataFrame(csv_rows(saved.logs[CLIENTS]))
        tables = self.config, history, clients, self.timing.head(len(history))
        told: tuple[Any, ...] = {}, self.init, (), None, clients_history(saved)
        return _restored(*tables, saved, self.partition, self.data_spec, *told)

    @property
    def accuracy(self) -> dict[str, float]:
        """The last evaluation, and mean and std of the pooled accuracy over the last k evaluations.

        Never the best round: choosing it on test data would flatter every method. UserError in regression.
        """
        if self.config.task.kind == "regression":
            raise UserError("result.accuracy: there is none in regression; see result.error")
        return headline(self)

    @property
    def error(self) -> dict[str, float]:
        """In regression in place of `accuracy`: the same of the mean absolute error."""
        if self.config.task.kind != "regression":
            raise UserError("result.error: is of regression; see result.accuracy")
        return headline(self)

    @property
    def adapted(self) -> dict[str, float] | None:
        """As `accuracy` or `error`, after clients have adapted; None without evaluation.adapt."""
        return headline(self, "adapted") if self.config.evaluation.adapt.asked_for else None

    @property
    def measures(self) -> "pd.DataFrame":
        """The last evaluation, a row per test (test, adapted, val) and measure of evaluation.metrics.

        Columns: test, measure, pooled (of all examples), client_mean, client_std, worst_decile.
        """
        self._check_evaluated()
        return measures_table(self.history, measure_names(self.config.evaluation.metrics))

    @under_our_settings
    def confusion(self, client: int | None = None, data: Dataset | None = None) -> "pd.DataFrame":
        """[C, C] test examples by label (rows) and by what the final state predicts (columns).

        Of one client, or of all that are evaluated; examples whose predictions are not finite are in no
        column. Of text every character counts. `data`: the run's own, needed where no configuration names
        them.
        """
        return confusion_table(self._counts(client, data), self.data_spec.class_names)

    @under_our_settings
    def classes(self, client: int | None = None, data: Dataset | None = None) -> "pd.DataFrame":
        """A row per class: class, test_examples, predicted (how often), recall, precision, f1.

        As `confusion`, of one client, or of all.

        NaN: recall without test examples, precision without predictions, f1 without either.
        """
        return class_table(self._counts(client, data), self.data_spec.class_names)

    def _counts(self, client: int | None, data: Dataset | None) -> np.ndarray:
        if client is not None:
            self._check_client(client)
        self._check_evaluated()
        if self.config.task.kind != "classification":
            raise UserError(f"result: there are no classes in {self.config.task.kind}; see result.measures")
        evaluated = np.flatnonzero(self.clients["test_accuracy"].notna())
        clients = evaluated if client is None else np.array([client])
        about = self.config, self._built, self.state, self._own_data(data), self.partition
        return confusion_counts(*about, clients)

    def _check_evaluated(self) -> None:
        reached(self.history, "test", 1)

    @property
    def model(self) -> Any:
        """The Flax module that `variables` belong to."""
        return self._built[0].model

    @under_our_settings
    def variables(self, client: int) -> dict[str, Any]:
        """The Flax variables that `client` would run now, for `result.model.apply(variables, inputs)`.

        The model takes normalised inputs, and in regression gives normalised numbers; `predict` takes and
        gives them as they are, and heeds what a method has beside the model (FedRod's personal head,
        FedProto's prototypes).
        """
        return tree.unflatten(self._leaves(client))

    @under_our_settings
    def mean_variables(self) -> dict[str, Any]:
        """The Flax variables of the mean of the clients that trained: `simulate(init=result)` starts there.

        Shared leaves are what they are, personal ones and embeddings the mean of these clients' own.
        """
        rows, everybody = self.state.rows, np.arange(self.state.rows.clients)
        trained = np.flatnonzero(rows.trained) if rows.trained.any() else everybody
        mean = {path: leaf[None] for path, leaf in rows.mean(trained).items()}
        leaves, shapes = self._leaves_of(mean), self._built[0].leaf_shapes()
        return tree.unflatten({path: leaves[path] for path in shapes})

    @functools.cached_property
    @under_our_settings
    def roles(self) -> "pd.DataFrame":
        """A row for each leaf: path, shape, dtype, role, rule (that gave it the role), bytes.

        Roles are shared, fixed, personal (of each client), generated (by the hypernetwork), and of the
        hypernetwork's own leaves embedding (of each client) and hypernetwork. What a method has beside the
        model has no rule.
        """
        import pandas as pd

        return pd.DataFrame([dataclasses.asdict(leaf) for leaf in leaf_roles(*self._built)])

    @under_our_settings
    def predict(self, client: int, x: np.ndarray) -> jax.Array | np.ndarray:
        """Logits [B, classes] by `client`'s own leaves for inputs [B, ...] as the data set holds them.

        For text x [B, T] are codes of characters and logits are [B, T, classes]. In regression numbers [B, C]
        as the data set has them (NumPy, float64). Nearest neighbours, which need the client's examples, take
        no part.
        """
        output = self._built[1].predict(self._leaves(client), model_inputs(self.data_spec, x)).logits
        if self.config.task.kind != "regression":
            return output
        mean, std = self.data_spec.target_mean, self.data_spec.target_std
        return np.asarray(output, np.float64) * std + mean

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
        return self._leaves_of(self.state.rows.take(np.array([client])))

    def _leaves_of(self, row: tree.Leaves) -> tree.Leaves:
        """What a client with this row {path: [1, ...]} would run now."""
        shared, rows = self._built[1].variables(self.state._replace(rows=row))
        return {**shared, **{path: leaf[0] for path, leaf in rows.items()}}

    @under_our_settings
    def save(self, path: str | Path, data: Dataset | None = None) -> None:
        """Write the result as a run's folder, report and all; `path` must not exist or be empty.

        `data`: the run's own, for what the report draws of them and classes.csv tells; by default those that
        the configuration names. Where there are none, the report says so. A result that is not `ended` has
        none.
        """
        hosts.on_first(functools.partial(save_result, self, user_path(path), data))

    @classmethod
    @under_our_settings
    def load(cls, path: str | Path, **own: Any) -> "Result":
        """The result in a run's folder, as it stood at its newest readable checkpoint.

        `own`: the parts (model, method, partition) that `simulate` was given and no file can hold.
        """
        stored = read_result(user_path(path), own)
        return cls(*stored[:7], {}, stored.init, (), stored.best, stored.clients_history, stored.ended)

    def __reduce__(self) -> tuple[Any, ...]:
        """Results travel to other processes: rows that were never written are functions, and made again."""
        tables, told = (
            (self.history, self.clients, self.timing, Saved.of(self.state)),
            (self.compiled, self.init, self.missing, self.kept_best, self.clients_history),
        )
        return _restored, (self.config, *tables, self.partition, self.data_spec, *told, self.ended)

    def __repr__(self) -> str:
        a, b = headline(self), self.config.evaluation.adapt.asked_for and headline(self, "adapted")
        several = (
            f" mean of the last {a['evaluations']} evaluations {a.told('mean', 3)} ± {a.told('std', 3)},"
        )
        lost = excluded_uploads(self.history)
        adapted = f", adapted {b.told('last', 3)}" if b else ""
        return (
            f"Result({name_of(self.config.method)}, {count_of(int(a['round']), 'round')}, "
            f"{count_of(self.data_spec.num_clients, 'client')}: "
            f"test {a.words} {a.told('last', 3)},{several * (a['evaluations'] > 1)} "
            f"worst decile {a.told('worst_decile', 3)}{adapted}{lost and f'; {lost} not finite, left out'})"
        )


def _restored(
    config: SimulationConfig,
    history: "pd.DataFrame",
    clients: "pd.DataFrame",
    timing: "pd.DataFrame",
    saved: Saved,
    partition: Partition,
    spec: DataSpec,
    compiled: dict[str, float],
    init: Mapping[str, Any] | None,
    *told: Any,
) -> Result:
    """The inverse of `Result.__reduce__`."""
    state = saved.state(initial_state(config, spec, init).population(config.engine.rows))
    return Result(config, history, clients, timing, state, partition, spec, compiled, init, *told)
