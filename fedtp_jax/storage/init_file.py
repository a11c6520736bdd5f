"""The variables that a run was given to start from, in its folder: clients' first rows are made of them."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedtp_jax.core.errors import UserError, in_one_line
from fedtp_jax.storage.files import write_atomically


def write_init(path: Path, init: Mapping[str, Any] | None) -> None:
    """Write {path: leaf}; where none were given there is no file."""
    if init is None:
        path.unlink(missing_ok=True)
        return
    content = io.BytesIO()
    np.savez(content, **init)
    write_atomically(path, content.getvalue())


def read_init(folder: Path) -> dict[str, np.ndarray] | None:
    """What the run in `folder`, or that of any of its seeds, was given; None where it was given nothing."""
    places = (place / "init.npz" for place in (folder, *sorted(folder.glob("seed-*"))))
    path = next(filter(Path.is_file, places), None)
    if path is None:
        return None
    try:
        with np.load(path) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: cannot be read ({in_one_line(error)}); resume the run with the init that it was given, "
            "or start a new one"
        ) from None
