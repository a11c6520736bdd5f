"""A model of the user's own, held to what every model owes before anything is trained with it."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import InvalidRngError

from fedtp_jax.core.errors import UserError, in_one_line
from fedtp_jax.core.tree import Leaves
from fedtp_jax.learning.task import Task
from fedtp_jax.models.calls import arguments_of, check_arguments, parameters_of


def check_own_model(task: Task, called: str) -> None:
    """Raise UserError for a model that does not give a row of logits per example, in training and outside.

    Nothing is computed. `called`: what it is in messages, such as "Small(width=64)".
    """
    if isinstance(task.model, nn.Module):
        _check_arguments(task.model, called)
    leaves = _leaf_shapes(task, called)
    for train in (False, True):
        _check_outputs(task, called, _outputs(task, called, leaves, train))


def _check_arguments(model: nn.Module, called: str) -> None:
    """Raise UserError for arguments of `__call__` that nobody would give."""
    if not any("__call__" in vars(kind) for kind in type(model).__mro__):
        raise UserError(f"model: {called} has no __call__; give it one, __call__(self, x, train=False)")
    check_arguments(parameters_of(model), arguments_of(model), called)


def _leaf_shapes(task: Task, called: str) -> dict[str, Any]:
    try:
        leaves = task.leaf_shapes()
    except UserError:
        raise
    except Exception as error:  # of the user's own code
        raise _failure(task, called, "when it is initialised", 1, error) from error
    parameters = {path: leaf for path, leaf in leaves.items() if path.startswith("params/")}
    if not parameters:
        raise UserError(f"model: {called} has no parameters, so there is nothing to train; give it layers")
    for path, leaf in parameters.items():
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise UserError(
                f"model: the parameter {path!r} of {called} is {leaf.dtype}, but only floating ones can be "
                "trained; make it a constant of the module, or float32"
            )
    return leaves


def _outputs(task: Task, called: str, leaves: dict[str, Any], train: bool) -> Any:
    """Shapes of what the model returns for a batch larger than the one it was initialised with."""
    # no model has that many classes, so that no axis is taken for another
    rows = task.num_classes + 1
    x = jax.ShapeDtypeStruct((rows, *task.inputs.shape), task.inputs.example.dtype)

    def call(leaves: Leaves, x: jax.Array, key: jax.Array) -> Any:
        given = (jnp.ones(rows), key) if train else (None, None)  # as training and evaluation do
        return task.apply(leaves, x, *given)[0]

    try:
        return jax.eval_shape(call, leaves, x, jax.random.key(0))
    except UserError:
        raise
    except Exception as error:  # of the user's own code
        raise _failure(task, called, "in training" if train else "in evaluation", rows, error) from error


def _failure(task: Task, called: str, when: str, rows: int, error: Exception) -> UserError:
    """What is told of a model that raises: the traceback of its own code stands above it."""
    kind = {"text": "text windows, codes", "tokens": "token ids"}.get(task.inputs.kind, "inputs")
    advice = f"see that it takes {kind} [B, {_sizes(task.inputs.shape)}]"
    if isinstance(error, InvalidRngError):
        advice = (
            "random numbers are there in training alone, and called 'dropout': take the argument `train`, "
            "and give layers deterministic=not train"
        )
    return UserError(
        f"model: {called} fails {when} on a batch {[rows, *task.inputs.shape]} "
        f"({task.inputs.example.dtype}): {type(error).__name__}: {in_one_line(error)}; {advice}"
    )


def _check_outputs(task: Task, called: str, output: Any) -> None:
    """Raise UserError unless it is one row of logits per example; of a text, per position."""
    text = task.inputs.each_position
    each = f"[B, {task.inputs.shape[0]}, {task.num_classes}]" if text else f"[B, {task.num_classes}]"
    one = {"regression": "number", "multilabel": "label"}.get(task.targets.kind, "class")
    expected = f"expected logits {each}, one for each {'character' if text else one}"
    if not isinstance(output, jax.ShapeDtypeStruct):
        raise UserError(
            f"model: {called} returns a {type(output).__name__}, {expected}; return the logits alone "
            "(features are sown: docs/own_parts.md)"
        )
    batch = (task.num_classes + 1, *(task.inputs.shape if text else ()))
    gives = f"model: {called} returns {output.dtype} [{_axes(output.shape, batch[0])}]"
    if not jnp.issubdtype(output.dtype, jnp.floating):
        labels = output.shape == batch and jnp.issubdtype(output.dtype, jnp.integer)
        advice = "labels are made of them later: leave out .argmax(-1)" if labels else "return floats"
        raise UserError(f"{gives}, {expected}; {advice}")
    if output.shape[:-1] != batch:
        where = "position of every example" if text else "example"
        raise UserError(f"{gives}, {expected}; return one row for each {where}, on no further axes")
    if output.shape[-1] != task.num_classes:
        of = "characters in its vocabulary" if text else f"{one}es" if one == "class" else f"{one}s"
        more = ""
        if output.shape[-1] > task.num_classes and not text and one == "class":
            more = f", or, if the data lacks labels, from_arrays(..., num_classes={output.shape[-1]})"
        raise UserError(
            f"model: {called} has {output.shape[-1]} outputs, but the data has {task.num_classes} {of}; give "
            f"it {task.num_classes}{more}"
        )


def _axes(shape: tuple[int, ...], rows: int) -> str:
    return ", ".join("B" if size == rows else str(size) for size in shape)


def _sizes(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
