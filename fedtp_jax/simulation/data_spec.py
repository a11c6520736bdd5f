"""What must be known of the data to build a model and a method, without the data."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from fedtp_jax.config import Own, PartitionFile, SimulationConfig, name_of
from fedtp_jax.config.task import LOSSES
from fedtp_jax.core import rng
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.identity import identity
from fedtp_jax.data.dataset import Dataset, kind_of
from fedtp_jax.learning.given import check_given
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.own_method import check_own_method
from fedtp_jax.learning.own_model import check_own_model
from fedtp_jax.learning.targets import Targets
from fedtp_jax.learning.task import Task
from fedtp_jax.methods import make_method
from fedtp_jax.models import make_model
from fedtp_jax.models.inputs import Inputs
from fedtp_jax.partitions.partition import Partition
from fedtp_jax.simulation.whole_method import whole_method

TEXT = "text"


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """What must be known of the data to build the model and the method without the data.

    `data` and `partition` are fingerprints: a run is only continued on the very same examples. `mean` and
    `std` normalise inputs on their last axis, uint8 ones after division by 255; ids enter as they are.
    `dtype` is that of the inputs as the data set holds them, "uint8", "float32", "int32" (tokens) or "text".
    `ids`: how many tokens there are; `padding`: the one behind the end of texts. `class_names`: as in
    Dataset. `name` is that of the data set; `identity` a fingerprint of all of it, groups, normalisation and
    names of classes too; `trace` one of the clients' availability, and of cohorts that are named, `clock` one
    of their speeds and links, where files say them. `streams`: version of the random streams. `init`: a
    fingerprint of the variables that the run was given to start from, "" where the seed draws them. `task`,
    `target_mean` and `target_std`: as in Dataset.
    """

    input_shape: tuple[int, ...]
    dtype: str
    num_classes: int
    num_clients: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_weights: tuple[float, ...] | None
    data: str
    partition: str
    # version 0.1.0 had none of these
    class_names: tuple[str, ...] = ()
    name: str = ""
    identity: str = ""
    trace: str = ""
    streams: int = 1
    ids: int = 0
    padding: int | None = None
    init: str = ""
    task: str = "classification"
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    clock: str = ""

    @classmethod
    def of(cls, data: Dataset, partition: Partition, trace: str = "", init: str = "") -> "DataSpec":
        """What must be known of these."""
        return cls(
            data.input_shape,
            TEXT if data.is_text else str(data.train.x.dtype),  # type: ignore[union-attr]
            data.num_classes,
            partition.num_clients,
            tuple(float(value) for value in data.mean),
            tuple(float(value) for value in data.std),
            data.class_weights,
            data.fingerprint(),
            partition.fingerprint(),
            data.class_names,
            data.name,
            _identity(data),
            trace,
            rng.STREAMS,
            data.ids,
            data.padding,
            init,
            data.task,
            data.target_mean,
            data.target_std,
        )

    def inputs(self, config: SimulationConfig) -> dict[str, str]:
        """{field: what came} of all that a run reads and its configuration only names."""
        found = {"data.of": self.name, "data.identity": self.identity}
        if isinstance(config.partition, PartitionFile):
            found["partition.identity"] = self.partition
        if self.trace:
            found["training.participation.identity"] = self.trace
        if self.clock:
            found["training.clock.identity"] = self.clock
        if self.init:
            found |= {"init.of": f"given {self.init[:6]}", "init.identity": self.init}
        return found

    @property
    def reads(self) -> Inputs:
        """What a model reads."""
        if self.dtype == TEXT:
            return Inputs("text", self.input_shape, self.num_classes)
        kind = "tokens" if self.ids else kind_of(self.input_shape)
        return Inputs(kind, self.input_shape, self.ids, self.padding)

    def build(
        self,
        config: SimulationConfig,
        init: Mapping[str, Any] | None = None,
        check: bool = False,
        fused: bool = False,
    ) -> tuple[Task, Method]:
        """(task, method) of `config` for this data.

        `init`: {path: leaf} to start from. `check`: a model and a method of the user's own, before a run.
        `fused`: with the attention of a run on GPUs.
        """
        causal = config.compat != "reference"
        if config.training.augment and self.reads.kind != "image":
            raise UserError(
                f"training.augment: {', '.join(config.training.augment)} alter images, but the data gives "
                f"{self.reads.kind}; leave it out"
            )
        kind = config.task.kind
        loss = config.task.loss or LOSSES[kind][0]
        black = -np.asarray(self.mean) / np.asarray(self.std)
        task = Task(
            make_model(config.model, self.reads, self.num_classes, causal, fused),
            self.reads,
            self.num_classes,
            self.num_clients,
            config.training,
            config.server,
            self.class_weights,
            tuple(black.tolist()),
            config.task.label_smoothing,
            jnp.dtype(config.engine.precision),
            targets=Targets(kind, loss, self.target_mean, self.target_std),
        )
        if check and isinstance(config.model, Own):
            check_own_model(task, config.model.of)
        if init is not None:
            task = task._replace(given=check_given(init, task.leaf_shapes()))
        method = make_method(config.method, task)
        if method.class_counts or method.counted:
            task.check_classes(
                f"method {name_of(config.method)}", "asks how many examples of each class a client has"
            )
        if check and isinstance(config.method, Own):
            check_own_method(task, method, config.method.of)
        return task, whole_method(method, config, task, self.mean, self.std)


def _identity(data: Dataset) -> str:
    groups = [part.group for part in (data.train, data.test)]
    how: tuple[Any, ...] = (data.num_classes, data.mean, data.std, data.class_weights)
    how += data.class_names, data.group_names
    how += (data.ids, data.padding) if data.ids else ()
    how += (data.task, data.target_mean, data.target_std) if data.task != "classification" else ()
    return identity((data.fingerprint(), groups, how))


def in_classes_of(spec: DataSpec, data: Dataset) -> Dataset:
    """`data` with the numbers that its classes have in `spec`, found by their names.

    Numbers are brought to the scale of `spec`. Raises UserError for a class that `spec` does not have.
    """
    if data.task != "classification":
        return dataclasses.replace(data, target_mean=spec.target_mean, target_std=spec.target_std)
    if data.is_text or (not data.class_names and not spec.class_names):
        return data
    ours = {name: number for number, name in enumerate(_names(spec))}
    if strange := [name for name in _names(data) if name not in ours]:
        raise UserError(
            f"data: has the label {strange[0]}, which the result was not trained on; its labels are "
            f"{', '.join(ours)}"
        )
    numbers = np.array([ours[name] for name in _names(data)], np.int32)
    train, test = (dataclasses.replace(part, y=numbers[part.y]) for part in (data.train, data.test))
    return dataclasses.replace(data, train=train, test=test, class_names=spec.class_names)


def _names(classes: DataSpec | Dataset) -> tuple[str, ...]:
    return classes.class_names or tuple(map(str, range(classes.num_classes)))
