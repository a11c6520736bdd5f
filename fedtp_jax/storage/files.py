"""Files that appear whole or not at all, and what a run does where one cannot be written."""

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedtp_jax.core.errors import StorageError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside and rename: a reader, or a killed process, sees the old file or the new one, no half."""
    scratch = path.with_name(path.name + ".part")
    try:
        scratch.write_bytes(content.encode() if isinstance(content, str) else content)
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def storage_error(error: OSError, path: Path, folder: Path) -> StorageError:
    """What ends a run in `folder` when `path` cannot be written."""
    return StorageError(
        f"{path}: cannot be written ({error.strerror}); mend that, then go on with: fedtp resume {folder}"
    )


def go_on_without(path: Path, write: Callable[[], None]) -> bool:
    """Write a file that a run can do without, and say whether it is written; where not, a warning says so."""
    try:
        write()
    except OSError as error:
        warnings.warn(
            f"{path}: cannot be written ({error.strerror}); the run goes on without it", stacklevel=4
        )
        return False
    return True


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(values, indent=2) + "\n")
