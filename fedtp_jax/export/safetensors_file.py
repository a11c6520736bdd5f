"""One client's variables as a safetensors file that needs no simulator to be read."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from fedtp_jax.config.plain import to_dict
from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError, user_path
from fedtp_jax.results.result import Result


def export_client(result: Result, client: int, path: str | Path) -> None:
    """Write what `client` would run now, its own and generated leaves in their places.

    The tensors are named by their paths ("params/head/kernel"); the file's metadata say in JSON what model it
    is, how inputs are normalised, and what has trained it. Methods that predict with more than the model
    (FedRod's personal head, FedProto's prototypes) have that as tensors of their own names.

    Raises UserError when safetensors is not installed, there is no such client, or the file exists or cannot
    be written.
    """
    try:
        from safetensors.numpy import save
    except ModuleNotFoundError:
        raise UserError(
            "export: needs safetensors; install it with pip install 'fedtp_jax[export]'"
        ) from None
    path = user_path(path)
    if path.exists():
        raise UserError(f"--out {path}: exists already; choose another file")
    leaves = tree.flatten(result.variables(client))
    tensors = {name: np.ascontiguousarray(leaf) for name, leaf in leaves.items()}
    spec, config = result.data_spec, to_dict(result.config)
    about: dict[str, Any] = {
        "client": client,
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
    content = save(tensors, {name: json.dumps(value) for name, value in about.items()})
    try:
        with path.open("xb") as file:
            file.write(content)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise UserError(f"--out {path}: cannot be written ({error.strerror}); choose another file") from None
