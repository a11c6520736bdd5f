"""The clients of simulators that leave model and local training to the user, in PyTorch."""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.simulators.work import TEST, Work
from benchmarks.torch_models import Vit

State = dict[str, torch.Tensor]


@functools.cache
def open_work(folder: Path, method: str, processes: int) -> Work:
    """The work, opened once in each process."""
    return Work(folder, method, processes)


def initial_model(work: Work) -> Vit:
    """The ViT with the work's initial parameters."""
    model = Vit(work.model, work.shape, work.classes)
    model.load_state_dict({name: torch.as_tensor(value) for name, value in work.parameters.items()})
    return model


def shard(work: Work, client: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A client's train examples, without a copy."""
    x, y = work.shard(client)
    return torch.from_numpy(x), torch.from_numpy(y)


def train(model: Vit, work: Work, client: int) -> float:
    """One client's local epochs with a fresh optimizer; returns the last batch's loss."""
    x, y = shard(work, client)
    model.train()
    optimizer = new_optimizer(model, work)
    loss = torch.zeros(())
    for rows in batches(len(y), work):
        loss = F.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def batches(examples: int, work: Work) -> Iterator[torch.Tensor]:
    """Rows of each batch, newly shuffled in each epoch; the last of an epoch may be small."""
    for _ in range(work.epochs):
        yield from torch.randperm(examples).split(work.batch_size)


def new_optimizer(model: torch.nn.Module, work: Work) -> torch.optim.SGD:
    """The clients' SGD."""
    return torch.optim.SGD(model.parameters(), work.learning_rate, work.momentum, fused=True)


def accuracy(work: Work, shared: State, heads: Mapping[int, Mapping[str, torch.Tensor]]) -> float:
    """Pooled test accuracy of the shared parameters with each client's own head, where it has one."""
    model = initial_model(work)
    initial = {name: torch.as_tensor(work.parameters[name]) for name in work.personal}
    correct = 0
    for client in range(work.clients):
        model.load_state_dict({**shared, **(heads.get(client) or initial)})
        correct += right_answers(model, work, client)
    return correct / work.test_examples


@torch.inference_mode()
def right_answers(model: Vit, work: Work, client: int) -> int:
    """How many of a client's test examples the model gets right."""
    x, y = map(torch.from_numpy, work.shard(client, TEST))
    return int((model.eval()(x).argmax(-1) == y).sum())


def as_torch(values: Mapping[str, np.ndarray]) -> State:
    """Arrays as tensors."""
    return {name: torch.as_tensor(value) for name, value in values.items()}
