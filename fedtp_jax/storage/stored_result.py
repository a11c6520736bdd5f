"""A result as a run's folder: written whole, read back as it stood at the newest checkpoint."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fedtp_jax.config import SimulationConfig
from fedtp_jax.config.load import load_config
from fedtp_jax.core.errors import StorageError, UserError
from fedtp_jax.core.identity import identity
from fedtp_jax.engine.programs import Programs
from fedtp_jax.learning.method import State
from fedtp_jax.partitions.files import load_partition
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.simulation.initial_state import InitialState
from fedtp_jax.storage.checkpoints import Checkpoints, Saved
from fedtp_jax.storage.csv_log import csv_rows, csv_text, numbers_table, read_rows
from fedtp_jax.storage.files import write_atomically, write_json
from fedtp_jax.storage.init_file import read_init
from fedtp_jax.storage.run_folder import CLIENTS, CLIENTS_HISTORY, RunFolder, ended_after
from fedtp_jax.storage.run_identity import checkpoint_meta, read_meta, read_newest, spec_of, write_header
from fedtp_jax.storage.same_run import check_config

if TYPE_CHECKING:
    import pandas as pd

WHOLE_NUMBERS = {
    "round",
    "drawn",
    "clients",
    "stragglers",
    "void",
    "excluded",
    "examples",
    "bytes_down",
    "bytes_up",
    "clients_tested",
    "clients_without_test",
    "clients_untrained",
}


class StoredResult(NamedTuple):
    """What a folder holds of a result.

    `history`, `clients`, `timing` and, if it was kept, `clients_history` are its tables, `init` is what it
    was given to start from, `best` is of the best round; `ended`: whether there is nothing more to come.
    """

    config: SimulationConfig
    history: "pd.DataFrame"
    clients: "pd.DataFrame"
    timing: "pd.DataFrame"
    state: State
    partition: Partition
    spec: DataSpec
    init: Mapping[str, Any] | None = None
    best: Saved | None = None
    clients_history: "pd.DataFrame | None" = None
    ended: bool = True


def initial_state(
    config: SimulationConfig, spec: DataSpec, init: Mapping[str, Any] | None = None
) -> InitialState:
    """What the rows of clients that never trained are made of, without the data."""
    return InitialState(spec.build(config, init)[1], spec.num_clients, config.seed, Programs())


def write_result(
    path: Path, result: StoredResult, write_rest: Callable[[RunFolder], None] = lambda run: None
) -> None:
    """Make the folder; `path` must not exist or be empty. `write_rest` comes last.

    Raises StorageError where a file cannot be written.
    """
    parts = result.config, result.spec, result.partition, result.init
    run = RunFolder.create(path, lambda folder: write_header(folder, *parts))
    try:
        for log, table in ((run.metrics, result.history), (run.timing, result.timing)):
            for row in table.to_dict("records"):
                log.append({str(name): _plain(str(name), value) for name, value in row.items()})
        if result.clients_history is not None:
            run.clients_history.append_table(result.clients_history)
        run.close_logs()
        clients = csv_text(result.clients)
        write_atomically(run.clients, clients)
        logs = {**run.logs(), CLIENTS: clients.encode()}
        states = {run.checkpoints: Saved.of(result.state, logs)}
        if result.best:
            states[run.best] = result.best
        for folder, saved in states.items():
            _write_state(folder, saved, checkpoint_meta(result.config, result.spec))
        if result.ended and len(result.history) < result.config.training.rounds:
            write_json(run.ended, {"round": len(result.history)})
        write_rest(run)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"{error.filename or path}: cannot be written ({error.strerror}); free space, then save the "
            "result in another folder"
        ) from None
    finally:
        run.release()


def _write_state(folder: Path, saved: Saved, meta: dict[str, Any]) -> None:
    checkpoints = Checkpoints(folder, keep=1)
    checkpoints.save(len(saved.history), saved, meta)
    checkpoints.settle()
    written = checkpoints.steps()
    checkpoints.close()
    if not written:  # a folder without a state is no result
        raise StorageError(
            f"{folder.parent}: the state could not be written; free space, then save it in another folder"
        )


def read_result(path: Path, own: Mapping[str, Any]) -> StoredResult:
    """What the folder holds; `own`: the parts (model, method, partition) that no file can hold."""
    import pandas as pd

    run = RunFolder.open(path)
    config = load_config(run.config, values=own)
    checkpoints = Checkpoints(run.checkpoints, config.checkpoint.keep, read_only=True)
    try:
        meta = read_meta(checkpoints, run.path)
        check_config(meta, config, run.path)
        spec = spec_of(meta)
        init = read_init(run.path) if spec.init else None
        if spec.init and (init is None or identity(init) != spec.init):
            raise UserError(
                f"{run.init}: is lost or was changed, and the rows of clients that never trained are made of "
                "it; put it back, or resume the run with the init that it was given"
            )
        initial = initial_state(config, spec, init)
        done, saved = read_newest(checkpoints, initial, run.path)
    finally:
        checkpoints.close()
    return StoredResult(
        config=config,
        history=numbers_table(saved.history),
        clients=pd.DataFrame(_clients(run, saved)),
        timing=numbers_table(timing_rows(saved)),
        state=saved.state(initial.population(config.engine.rows)),
        partition=load_partition(run.partition),
        spec=spec,
        init=init,
        best=_best(run, initial, done),
        clients_history=clients_history(saved),
        ended=done >= config.training.rounds or ended_after(run) == done,
    )


def timing_rows(saved: Saved) -> list[dict[str, Any]]:
    """The rows of timing.csv until then."""
    return csv_rows(saved.logs.get("timing", b""))


def clients_history(saved: Saved) -> "pd.DataFrame | None":
    """The rows of clients_history.csv until then, None where they were not asked for."""
    content = saved.logs.get(CLIENTS_HISTORY)
    return numbers_table(csv_rows(content)) if content else None


def _best(run: RunFolder, initial: InitialState, done: int) -> Saved | None:
    """What is kept of the best round, if it is one of those `done`."""
    if not run.best.is_dir():
        return None
    kept = Checkpoints(run.best, keep=1, read_only=True)
    try:
        found = kept.newest(initial)
    finally:
        kept.close()
    return found[1] if found and found[0] <= done else None


def _clients(run: RunFolder, saved: Saved) -> list[dict[str, Any]]:
    """The rows of clients.csv as it was at the checkpoint."""
    if CLIENTS in saved.logs:
        return csv_rows(saved.logs[CLIENTS])
    if run.metrics.content() != saved.logs["metrics"]:  # of version 0.1.0
        warnings.warn(
            f"{run.clients}: may be of a later round than the checkpoint, which does not hold it; resume the "
            "run to its end",
            stacklevel=4,
        )
    return read_rows(run.clients)


def _plain(column: str, value: Any) -> int | float | str | None:
    """A cell of the history as it was recorded: pandas keeps whole numbers beside gaps as floats."""
    import pandas as pd

    if isinstance(value, str):
        return value
    if pd.isna(value):
        return None
    return int(value) if column in WHOLE_NUMBERS else float(value)
