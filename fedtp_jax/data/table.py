"""Rows of the user's CSV or Parquet file as features, read by pandas."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedtp_jax.config import Table
from fedtp_jax.config.convert import show
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError, in_one_line, nearest, user_path
from fedtp_jax.data.arrays import by_split, from_source
from fedtp_jax.data.dataset import Dataset

if TYPE_CHECKING:
    import pandas as pd

MOST_TEXTS = 100  # different ones in a column that becomes features
SPLITS = "train", "test"


def read_table(config: Table, task: str = "classification") -> Dataset:
    """The rows of a file, one example each, numbers and booleans as they are and texts one-hot.

    A text column becomes a feature for each text that occurs in it, in their order, 1 where a row has it; a
    missing one is missing in all of them. Labels are what `task` asks for.

    Raises:
        UserError: no such file or column, an unreadable file, dates or too many texts among the features,
            missing labels or clients, missing values without `impute`, or what `from_arrays` refuses.
    """
    path, frame = _read(config.file)
    labels = (config.label,) if isinstance(config.label, str) else config.label
    of_field = ("client", config.client), ("split", config.split), *(("label", name) for name in labels)
    used = {column: field for field, column in of_field if column is not None}
    for column, field in used.items():
        _check_column(f"data.{field}", column, frame)
        _check_gaps(f"data.{field}", column, frame)
    names = _features(config, frame, list(used))
    x = np.concatenate([_numbers(frame[name], name) for name in names], axis=1)
    if config.impute is None and (gaps := np.isnan(x).any(1)).any():
        first = next(name for name in names if frame[name].isna().any())
        lack = count_of(int(gaps.sum()), f"of {len(x)} rows lacks", f"of {len(x)} rows lack")
        raise UserError(
            f"data.file: {path}: {lack} a value, the first one in column "
            f"{first!r}; leave them out, or set data.impute to mean or median"
        )
    y, groups = _labels(labels, frame, task), _clients(config, frame)
    train = _in_train(config, frame)
    how: dict[str, Any] = {"standardize": config.standardize, "impute": config.impute}
    arrays: dict[str, Any] = by_split(x, y, groups, train)
    return from_source("data.file", str(path), **arrays, **how, kind="features", task=task, name=path.stem)


def _read(file: str | None) -> tuple[Path, "pd.DataFrame"]:
    import pandas as pd

    if file is None:
        raise UserError("data.file: missing; give the path of a .csv or .parquet file")
    path = user_path(file)
    if not path.is_file():
        raise UserError(f"data.file: {path} is no file; give the path of a .csv or .parquet file")
    try:
        read = pd.read_parquet if path.suffix.lower() == ".parquet" else pd.read_csv
        frame = read(path)
    except ImportError:
        raise UserError(f"data.file: {path} needs pyarrow; pip install pyarrow, or save a .csv") from None
    except Exception as error:  # pandas and pyarrow raise nearly anything on a damaged file
        raise UserError(
            f"data.file: {path} is no readable table ({in_one_line(error)}); give a .csv with a line of "
            "columns' names, or a .parquet file"
        ) from error
    if frame.empty:
        raise UserError(f"data.file: {path} has no rows; give at least two")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise UserError(f"data.file: {path} has the column {twice!r} twice; rename one")
    return path, frame


def _check_column(field: str, column: str, frame: "pd.DataFrame") -> None:
    if column not in frame.columns:
        known = [str(name) for name in frame.columns]
        shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        raise UserError(f"{field}: no column {column!r}{nearest(column, known)}; the file has {shown}")


def _check_gaps(field: str, column: str, frame: "pd.DataFrame") -> None:
    if (gaps := frame[column].isna().to_numpy()).any():
        have = count_of(int(gaps.sum()), "row has", "rows have")
        raise UserError(
            f"{field}: {have} nothing in {column!r}, the first one is row "
            f"{gaps.argmax() + 1}; fill them, or leave these rows out"
        )


def _features(config: Table, frame: "pd.DataFrame", used: list[str]) -> list[str]:
    """The columns that are features, in the file's order."""
    for column in config.columns or ():
        _check_column("data.columns", column, frame)
        if column in used:
            raise UserError(f"data.columns: {column!r} is label, client or split; leave it out")
    wanted = (
        [name for name in frame.columns if name not in used] if config.columns is None else config.columns
    )
    names = [name for name in frame.columns if name in wanted]
    if not names:
        raise UserError("data.columns: no column is left for features; name some")
    return names


def _numbers(column: "pd.Series", name: str) -> np.ndarray:
    """[M, values] float64, NaN where the table has nothing."""
    import pandas as pd

    kind = pd.api.types
    if kind.is_bool_dtype(column.dtype) or kind.is_numeric_dtype(column.dtype):
        if kind.is_complex_dtype(column.dtype):
            raise UserError(f"data.columns: {name!r} holds complex numbers; give their parts as two columns")
        return column.to_numpy(np.float64, na_value=np.nan)[:, None]
    if kind.is_datetime64_any_dtype(column.dtype) or kind.is_timedelta64_dtype(column.dtype):
        raise UserError(f"data.columns: {name!r} holds times; make numbers of them, or name other columns")
    gaps, texts = column.isna().to_numpy(), column.astype(str).to_numpy(str)
    found = np.unique(texts[~gaps])
    if len(found) > MOST_TEXTS:
        raise UserError(
            f"data.columns: {name!r} holds {len(found):,} different texts, each of which would be a feature; "
            f"at most {MOST_TEXTS} can be: name the columns that are features"
        )
    one_hot = (texts[:, None] == found).astype(np.float64)
    one_hot[gaps] = np.nan
    return one_hot


def _labels(names: Sequence[str], frame: "pd.DataFrame", task: str) -> np.ndarray:
    """[M] or, of several columns, [M, C]."""
    if not names or len(set(names)) < len(names):
        raise UserError(f"data.label: {list(names)}; name one column, or several, each once")
    if task == "classification" and len(names) > 1:
        raise UserError(
            f"data.label: {len(names)} columns, but a row has one class; name one column, or set "
            "task.kind to multilabel or regression"
        )
    if task == "classification":
        return frame[names[0]].to_numpy()
    return np.column_stack([_as_numbers(frame[name], name, task) for name in names])


def _as_numbers(column: "pd.Series", name: str, task: str) -> np.ndarray:
    """[M] float64; UserError for a column that holds others, or of several labels any but 0 and 1."""
    import pandas as pd

    kind = pd.api.types
    if not kind.is_numeric_dtype(column.dtype) or kind.is_complex_dtype(column.dtype):
        raise UserError(
            f"data.label: {name!r} holds {show(column.iloc[0])}, but task.kind is {task}, whose labels are "
            "numbers; make numbers of them, or name other columns"
        )
    values = column.to_numpy(np.float64)
    if task == "multilabel" and not (fits := np.isin(values, (0, 1))).all():
        row = int((~fits).argmax())
        raise UserError(
            f"data.label: {name!r} holds {values[row]:g} in row {row + 1}, but task.kind is multilabel: "
            "expected 1 where a row has the label, else 0"
        )
    return values


def _clients(config: Table, frame: "pd.DataFrame") -> np.ndarray | None:
    """[M] whose each row is, whole numbers or texts."""
    import pandas as pd

    if config.client is None:
        return None
    column = frame[config.client]
    if pd.api.types.is_integer_dtype(column.dtype):
        return column.to_numpy(np.int64)
    return column.astype(str).to_numpy(str)


def _in_train(config: Table, frame: "pd.DataFrame") -> np.ndarray | None:
    """[M] whether a row is a train example, where a column says so."""
    if config.split is None:
        return None
    column = frame[config.split].astype(str).str.strip().str.lower().to_numpy(str)
    strange = ~np.isin(column, SPLITS)
    if strange.any():
        row = strange.argmax()
        raise UserError(
            f"data.split: {config.split!r} holds {str(column[row])!r} in row {row + 1}; "
            "expected train or test"
        )
    for split in SPLITS:
        if split not in column:
            raise UserError(f"data.split: no row of {config.split!r} says {split}; name another column")
    return column == "train"
