"""FedAvg and FedTP as a plain PyTorch loop over the clients."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.torch_models import Hypernetwork, Vit, generated
from fedtp_jax import config
from fedtp_jax.data.dataset import Dataset, Examples
from fedtp_jax.engine.schedule import Batches


class Cohort(NamedTuple):
    """Who trains in a round: ids [K], each one's batches (index tensors [B]) and share p_k of examples."""

    ids: torch.Tensor
    batches: list[list[torch.Tensor]]
    shares: list[float]

    @classmethod
    def of(cls, ids: np.ndarray, batches: Sequence[Batches], sizes: np.ndarray) -> "Cohort":
        """From the schedule's tables; the padding of a small last batch is cut off. sizes [K]: examples."""
        indices = [
            [torch.as_tensor(row[:valid], dtype=torch.long) for row, valid in zip(*steps[:2], strict=True)]
            for steps in batches
        ]
        return cls(torch.as_tensor(ids), indices, (sizes / sizes.sum()).tolist())


class Server:
    """The global model, with a hypernetwork (FedTP) or without one (FedAvg).

    Args:
      model: its parameters are the shared ones; the generated among them are overwritten client by client.
      data: whose train examples are kept as float32 tensors, already normalised.
      training: the clients' optimizer.
      hypernetwork, settings: of FedTP, and its optimizer's.
    """

    def __init__(
        self,
        model: Vit,
        data: Dataset,
        training: config.Training,
        hypernetwork: Hypernetwork | None = None,
        settings: config.Hypernetwork = config.Hypernetwork(),
    ) -> None:
        self.model, self.training, self.hypernetwork = model.train(), training, hypernetwork
        assert isinstance(data.train, Examples)
        x = (data.train.x / 255 - np.asarray(data.mean)) / np.asarray(data.std)
        self.x, self.y = (
            torch.as_tensor(x, dtype=torch.float32),
            torch.as_tensor(data.train.y, dtype=torch.long),
        )
        self.personal = generated(model) if hypernetwork else []
        personal = {id(parameter) for parameter in self.personal}
        self.shared = [p for p in model.parameters() if id(p) not in personal]
        if hypernetwork:
            rate = settings.learning_rate or training.learning_rate
            self.optimizer = self._sgd(hypernetwork, rate, settings.weight_decay)

    def round(self, cohort: Cohort) -> None:
        """Train the cohort, one client after the other, and aggregate."""
        sent = [p.detach().clone() for p in self.shared]
        mean = [torch.zeros_like(p) for p in sent]
        realized = self.hypernetwork(cohort.ids) if self.hypernetwork else []
        cotangent = [torch.zeros_like(leaf) for leaf in realized]
        for k, (batches, share) in enumerate(zip(cohort.batches, cohort.shares, strict=True)):
            own = [leaf[k].detach() for leaf in realized]
            self._load(self.shared, sent)
            self._load(self.personal, own)
            self.train(batches)
            with torch.no_grad():
                for total, new in zip(mean, self.shared, strict=True):
                    total.add_(new, alpha=share)
                for total, old, new in zip(cotangent, own, self.personal, strict=True):
                    total[k] = share * (old - new)
        self._load(self.shared, mean)
        if self.hypernetwork:
            self._step(self.hypernetwork, realized, cotangent)

    def train(self, batches: list[torch.Tensor]) -> None:
        """One client's local steps, with a fresh optimizer."""
        optimizer = self._sgd(self.model, self.training.learning_rate, self.training.weight_decay)
        for rows in batches:
            loss = F.cross_entropy(self.model(self.x[rows]), self.y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def _step(
        self, hypernetwork: Hypernetwork, realized: list[torch.Tensor], cotangent: list[torch.Tensor]
    ) -> None:
        """One step along sum_k J_k^T p_k (W_k - W_k')."""
        parameters = list(hypernetwork.parameters())
        gradients = torch.autograd.grad(realized, parameters, cotangent)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()

    def _sgd(self, module: nn.Module, rate: float, weight_decay: float) -> torch.optim.SGD:
        momentum = self.training.optimizer.arguments["momentum"]
        return torch.optim.SGD(module.parameters(), rate, momentum, weight_decay=weight_decay, fused=True)

    @staticmethod
    @torch.no_grad()
    def _load(parameters: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
