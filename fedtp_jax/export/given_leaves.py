"""What a run is given to start from: Flax variables, a result, or files of this and other programs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedtp_jax.config import name_of
from fedtp_jax.config.convert import show
from fedtp_jax.core.errors import UserError, in_one_line, user_path
from fedtp_jax.export.torch_names import LEAVES_OF
from fedtp_jax.learning.given import plain_leaves
from fedtp_jax.results.result import Result

Init = Mapping[str, Any] | Result | str | Path


def given_leaves(init: Init, model: object) -> dict[str, np.ndarray]:
    """{path: leaf} of `init`, as `simulate` takes it, for a model of these settings."""
    if isinstance(init, Result):
        return plain_leaves(init.mean_variables(), "init")
    if isinstance(init, Mapping):
        return plain_leaves(init, "init")
    if not isinstance(init, str | Path):
        raise UserError(
            f"init: got {show(init)}, expected the model's variables, {{'params': ...}}, a Result, or the "
            "path of a run's folder or a file"
        )
    path = user_path(init)
    if path.is_dir():
        return plain_leaves(Result.load(path).mean_variables(), f"init: {path}")
    if path.suffix not in READERS:
        raise UserError(
            f"init: {path} is neither a run's folder nor a file {', '.join(READERS)}; give one of these"
        )
    if not path.is_file():
        raise UserError(f"init: no file {path}; check the path")
    try:
        found = READERS[path.suffix](path, model)
    except UserError:
        raise
    except Exception as error:  # the packages raise many kinds for a damaged file
        raise UserError(f"init: {path} cannot be read ({in_one_line(error)}); write it again") from None
    if not isinstance(found, Mapping):
        raise UserError(
            f"init: {path} holds {show(found)}, expected a model's variables; choose another file"
        )
    return plain_leaves(found, f"init: {path}")


def _safetensors(path: Path, model: object) -> Any:
    try:
        from safetensors.numpy import load
    except ModuleNotFoundError:
        raise UserError(
            f"init: {path} needs safetensors; install it with pip install 'fedtp_jax[export]'"
        ) from None
    return load(path.read_bytes())


def _msgpack(path: Path, model: object) -> Any:
    from flax.serialization import msgpack_restore

    return msgpack_restore(path.read_bytes())


def _torch(path: Path, model: object) -> Any:
    try:
        import torch
    except ModuleNotFoundError:
        raise UserError(
            f"init: {path} needs PyTorch; install it with pip install torch, or give a .safetensors file"
        ) from None
    if (name := name_of(model)) not in LEAVES_OF:
        raise UserError(
            f"init: {path} is of PyTorch, whose names are known of {', '.join(LEAVES_OF)} alone, and the "
            f"model is {name}; give Flax variables"
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"init: {path} holds {type(state).__name__}, expected a state: names with tensors")
    return LEAVES_OF[name]({name: tensor.float().numpy() for name, tensor in state.items()})


READERS: dict[str, Callable[[Path, object], Any]] = {
    ".safetensors": _safetensors,
    ".msgpack": _msgpack,
    ".pt": _torch,
    ".pth": _torch,
}
