"""One client's variables as a safetensors file that needs no simulator to be read."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedtp_jax.config.plain import to_dict
from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError, user_path
from fedtp_jax.results.novel_table import Personalized
from fedtp_jax.results.result import Result
from fedtp_jax.storage.files import write_atomically

ENDING = ".safetensors"


def export_client(result: Result, client: int, path: str | Path, overwrite: bool = False) -> None:
    """Write what `client` would run now, its own and generated leaves in their places.

    The tensors are named by their paths ("params/head/kernel"); the file's metadata say in JSON what model it
    is, how inputs are normalised, and what has trained it. Methods that predict with more than the model
    (FedRod's personal head, FedProto's prototypes) have that as tensors of their own names. Of a client that
    has never trained a warning says so.

    Raises UserError when safetensors is not installed, there is no such client, the file has another ending,
    cannot be written, or exists and `overwrite` is not given.
    """
    path = check_file(path, overwrite)
    variables, rounds = result.variables(client), int(result.state.rows.trained[client])
    if not rounds:
        warnings.warn(
            f"client {client} has never trained: what is its own is as it began; fedtp novel adapts clients "
            "that were held out, and writes one with --export",
            stacklevel=2,
        )
    _write(result, variables, {"client": client, "trained_rounds": rounds}, path)


def export_novel(
    result: Result, reached: Personalized, row: int, mode: str, path: str | Path, overwrite: bool = False
) -> None:
    """Write what a client that never trained would run after its adaptation, as `export_client` does.

    Args:
      result: of the run that it has met.
      reached: what `result.personalize` or `personalize_held_out` gave.
      row: of `reached.clients`.
      mode: of those that were run, such as "fit"; it is in the metadata too.
    """
    path, variables = check_file(path, overwrite), reached.variables(row, mode)
    about = {"client": int(reached.clients["client"].iloc[row]), "trained_rounds": 0, "mode": mode}
    _write(result, variables, about, path)


def check_file(path: str | Path, overwrite: bool, flag: str = "--out") -> Path:
    """The path that is to be written; UserError where it cannot be."""
    path = user_path(path)
    if path.suffix != ENDING:
        raise UserError(f"{flag} {path}: expected a file that ends in {ENDING}")
    if path.exists() and not overwrite:
        raise UserError(f"{flag} {path}: exists already; choose another file, or give --overwrite")
    try:
        import safetensors  # noqa: F401  is an extra
    except ModuleNotFoundError:
        raise UserError(
            "export: needs safetensors; install it with pip install 'fedtp_jax[export]'"
        ) from None
    return path


def _write(result: Result, variables: Mapping[str, Any], who: Mapping[str, Any], path: Path) -> None:
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(leaf) for name, leaf in tree.flatten(variables).items()}
    spec, config = result.data_spec, to_dict(result.config)
    about: dict[str, Any] = {
        **who,
        "model": config["model"],
        "input_shape": list(spec.input_shape),
        "classes": spec.num_classes,
        "mean": list(spec.mean),
        "std": list(spec.std),
        "divide_by_255": spec.dtype == "uint8",
        "config": config,
    }
    if spec.target_std:  # what the model gives, times std, plus mean, is a number as the data have it
        about |= {"target_mean": list(spec.target_mean), "target_std": list(spec.target_std)}
    try:
        write_atomically(path, save(tensors, {name: json.dumps(value) for name, value in about.items()}))
    except OSError as error:
        raise UserError(f"--out {path}: cannot be written ({error.strerror}); choose another file") from None
