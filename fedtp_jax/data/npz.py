"""Files of the user's own arrays: .npz."""

from pathlib import Path
from typing import Any

import numpy as np

from fedtp_jax.config import Npz
from fedtp_jax.core.errors import UserError, in_one_line, nearest, user_path
from fedtp_jax.data.arrays import from_source
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.data.unpack import load_npz

_TEXTS = "kind", "standardize", "impute"
_NUMBERS = "num_classes", "mean", "std", "vocabulary", "padding"
_NPZ_KEYS = ("x", "y", "x_test", "y_test", "groups", "groups_test", *_TEXTS, *_NUMBERS)


def read_npz(config: Npz, task: str = "classification") -> Dataset:
    """The arrays x, y and optional x_test, y_test, groups, groups_test of an .npz file, as from_arrays.

    y is what `task` asks for. `kind`, `standardize` and `impute` (texts), `num_classes`, `mean`, `std`,
    `vocabulary` and `padding` may lie beside them.

    Raises:
        UserError: no such file, not an .npz file, pickled (object) arrays, unknown keys, or arrays that do
            not fit.
    """
    if config.file is None:
        raise UserError("data.file: missing; give the path of an .npz file with x and y")
    path = user_path(config.file)
    if not path.is_file():
        raise UserError(f"data.file: {path} is no file; give the path of an .npz file with x and y")
    arrays = _load_npz(path)
    for key in arrays:
        if key not in _NPZ_KEYS:
            known = ", ".join(_NPZ_KEYS)
            raise UserError(
                f"data.file: {path} holds {key!r}{nearest(key, _NPZ_KEYS)}; the known arrays are {known}"
            )
    if "x" not in arrays:
        raise UserError(f"data.file: {path} holds {', '.join(arrays) or 'nothing'} but no 'x'; save x and y")
    for key in _TEXTS:
        if key in arrays:
            arrays[key] = str(np.asarray(arrays[key]).astype(str).ravel()[0])
    return from_source("data.file", str(path), **{"y": None, **arrays}, task=task, name=path.stem)


def _load_npz(path: Path) -> dict[str, Any]:
    try:
        return load_npz(path)
    except Exception as error:  # zipfile, zlib and NumPy raise nearly anything on a damaged file
        raise UserError(
            f"data.file: {path} is no readable .npz file ({in_one_line(error)}); write it with "
            "numpy.savez(file, x=x, y=y), without object arrays"
        ) from error
