"""Clients that a result meets after its training: their data and what of the run they need, checked."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedtp_jax.config import Natural, name_of
from fedtp_jax.core import rng
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.jax_settings import under_our_settings
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.engine.mesh import open_mesh
from fedtp_jax.evaluation.novel_clients import NovelClients
from fedtp_jax.evaluation.novel_steps import Adaptation
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.task import Task
from fedtp_jax.partitions.make import make_partition
from fedtp_jax.partitions.partition import Partition, Shards
from fedtp_jax.results.novel_table import Personalized, personalize
from fedtp_jax.results.pictures import Pictures
from fedtp_jax.simulation.data_spec import DataSpec, in_classes_of
from fedtp_jax.simulation.participation import held_out_clients


class NewClients(Pictures):
    """What a `Result` is to clients that never trained."""

    init: Mapping[str, Any] | None

    @functools.cached_property
    def _built(self) -> tuple[Task, Method]:
        return self.data_spec.build(self.config, self.init)

    @under_our_settings
    def personalize(
        self,
        data: Dataset,
        *,
        modes: Sequence[str] | None = None,
        epochs: int = 10,
        learning_rate: float | None = None,
        embedding_learning_rate: float | None = None,
    ) -> Personalized:
        """What clients that never trained reach with this result: at once, by fitting, by training all.

        Args:
          data: their examples, from `from_arrays`; every group is a client, without groups all is one's.
          modes: some of zero_shot, fit, fine_tune, local; default: all that the method has.
          epochs: passes over a client's train examples.
          learning_rate, embedding_learning_rate: default: that of the training, and of its
            hypernetwork where both have the same optimizer.

        Raises:
          UserError: the data do not fit the model, or the method has no such mode.
        """
        if not isinstance(data, Dataset):
            raise UserError(
                f"data: got a {type(data).__name__}, expected what fedtp_jax.from_arrays(x, y) returns"
            )
        theirs, own = DataSpec.of(data, self.partition), self.data_spec
        if theirs.task != own.task or (
            theirs.num_classes != own.num_classes and own.task != "classification"
        ):
            raise UserError(
                f"data: are of {theirs.task} with {theirs.num_classes} outputs, but the result was trained "
                f"on {own.task} with {own.num_classes}; make them with from_arrays(..., task={own.task!r})"
            )
        if (theirs.input_shape, theirs.dtype) != (own.input_shape, own.dtype) or (
            theirs.num_classes > own.num_classes
        ):
            raise UserError(
                f"data: {theirs.dtype} examples of shape {list(theirs.input_shape)} and {theirs.num_classes} "
                f"classes or outputs, but the result was trained on {own.dtype}, {list(own.input_shape)} and "
                f"{own.num_classes}; bring them to one form"
            )
        if data.train.group is None:
            whole = [Shards.from_lists([np.arange(len(part))]) for part in (data.train, data.test)]
            partition = Partition(whole[0], whole[1])
        else:
            partition = make_partition(Natural(), data, 0)
        data = dataclasses.replace(in_classes_of(own, data), mean=own.mean, std=own.std)
        ids = np.arange(partition.num_clients)
        settings = Adaptation(epochs, learning_rate, embedding_learning_rate)
        return self._personalize(data, partition, data.group_names, ids, modes, settings)

    @under_our_settings
    def personalize_held_out(
        self,
        data: Dataset,
        clients: Sequence[int] | None = None,
        modes: Sequence[str] | None = None,
        settings: Adaptation | None = None,
    ) -> Personalized:
        """As `personalize`, for clients (default: all) that this run held out; `data` are the run's own."""
        held_out = self._held_out()
        if not len(held_out):
            raise UserError(
                "training.held_out: 0, so every client took part in training; run with training.held_out=10, "
                "or give data of other clients to Result.personalize"
            )
        wanted = np.asarray(held_out if clients is None else clients)
        if wanted.dtype.kind not in "iu" or wanted.ndim != 1 or not len(wanted):
            raise UserError(f"clients: got {clients!r}, expected ids of held-out clients, such as [3, 7]")
        ids = np.unique(wanted)
        if len(strangers := np.setdiff1d(ids, held_out)):
            raise UserError(
                f"clients: client {strangers[0]} is not one of the held-out clients "
                f"{', '.join(map(str, held_out))}; choose among these"
            )
        if data.fingerprint() != self.data_spec.data:
            raise UserError(
                f"data: has fingerprint {data.fingerprint()}, but the run was trained on "
                f"{self.data_spec.data}; give the run's own data"
            )
        return self._personalize(data, self.partition, self._names, ids, modes, settings or Adaptation())

    def _personalize(
        self,
        data: Dataset,
        partition: Partition,
        names: Sequence[str],
        ids: np.ndarray,
        modes: Sequence[str] | None,
        settings: Adaptation,
    ) -> Personalized:
        trained = np.setdiff1d(np.flatnonzero(self.state.rows.trained), self._held_out())
        if not len(trained):
            raise UserError(
                "result: no client has trained yet, so there is no mean client to begin with; run more rounds"
            )
        mesh = open_mesh("auto", before=self.config.engine.devices)
        ours = self.config, *self._built, self.state, trained
        novel = NovelClients(*ours, data, partition, ids, mesh, names)
        return personalize(novel, name_of(self.config.method), modes, settings)

    def _held_out(self) -> np.ndarray:
        """Ids of the clients that this run held out."""
        if self.config.training.held_out and self.data_spec.streams != rng.STREAMS:
            raise UserError(
                "training.held_out: the run is of fedtp_jax 0.1.0, whose random streams are others, so who "
                "was held out is not known here; pip install fedtp_jax==0.1.0, or run it anew"
            )
        return held_out_clients(self.config, self.partition.train.sizes)
