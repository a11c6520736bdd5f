"""pfl-research: FederatedAveraging on a SimulatedBackend, users by size over processes of torchrun.

https://apple.github.io/pfl-research/guides/simulation_distributed.html
FedPer: the head is a user's state, kept in a DiskUserStateStorage, which all processes share.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByDatapoints
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.pytorch import PyTorchTensorDataset
from pfl.data.user_state import DiskUserStateStorage
from pfl.exception import UserNotFoundError
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel

from benchmarks.simulators import torch_clients
from benchmarks.simulators.work import Laps, Work, answer, from_command_line
from benchmarks.torch_models import Vit


class UserModel(Vit):
    """The ViT with the two methods that pfl asks for."""

    def loss(self, x: torch.Tensor, y: torch.Tensor, eval: bool = False) -> torch.Tensor:
        self.train(not eval)
        return F.cross_entropy(self(x), y)

    @torch.no_grad()
    def metrics(self, x: torch.Tensor, y: torch.Tensor, eval: bool = True) -> dict[str, Any]:
        return {"loss": Weighted(self.loss(x, y, eval).item() * len(y), len(y))}


class GivenCohorts:
    """A user sampler that goes through the work's cohorts, over and over."""

    def __init__(self, users: list[int]) -> None:
        self.users, self.next = users, 0

    def __call__(self) -> int:
        self.next += 1
        return self.users[(self.next - 1) % len(self.users)]


class FedPer(FederatedAveraging):
    """Personal parameters are loaded before a user trains, stored after it, and have no update."""

    def __init__(self, personal: list[str], storage: DiskUserStateStorage) -> None:
        super().__init__()
        self.personal, self.storage = personal, storage

    def train_one_user(
        self, initial_model_state: Any, model: PyTorchModel, user_dataset: Any, central_context: Any
    ) -> tuple[Any, Metrics]:
        own = load_head(self.storage, user_dataset.user_id)
        for name, value in own.items():
            model.variable_map[name].data.copy_(value)
        update, metrics = super().train_one_user(initial_model_state, model, user_dataset, central_context)
        trained = {name: model.variable_map[name].detach().clone() for name in self.personal}
        self.storage.save_state(trained, user_dataset.user_id)
        for name in self.personal:
            update[name].zero_()
        return update, metrics


class Clock(TrainingProcessCallback):
    """Notes when each central iteration is done."""

    def __init__(self) -> None:
        self.laps = Laps()

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        self.laps.lap()
        return False, Metrics()


def load_head(storage: DiskUserStateStorage, user: str) -> dict[str, torch.Tensor]:
    """The user's personal parameters; none if it never trained."""
    try:
        return storage.load_state(user)
    except UserNotFoundError:
        return {}


def users(work: Work) -> FederatedDataset:
    """The clients, each shuffled anew when it trains: pfl takes a user's examples in their order."""

    def user_dataset(user: int) -> PyTorchTensorDataset:
        x, y = torch_clients.shard(work, user)
        rows = torch.randperm(len(y))
        return PyTorchTensorDataset((x[rows], y[rows]), user_id=str(user))

    cohorts = GivenCohorts(work.cohorts.ravel().tolist())
    return FederatedDataset(user_dataset, cohorts, dict(enumerate(work.sizes.tolist())))


def main() -> None:
    """One of the processes that torchrun starts; the first one answers."""
    work, file = from_command_line()
    torch.set_num_threads(1)
    model = UserModel(work.model, work.shape, work.classes)
    model.load_state_dict(torch_clients.as_torch(work.parameters))
    optimizer = partial(torch.optim.SGD, momentum=work.momentum, fused=True)
    wrapped = PyTorchModel(model, optimizer, torch.optim.SGD(model.parameters(), lr=1.0))
    data = users(work)
    storage = DiskUserStateStorage(str(file.with_suffix(".heads")))
    algorithm = FedPer(work.personal, storage) if work.personal else FederatedAveraging()
    rounds, cohort = work.cohorts.shape
    clock = Clock()
    algorithm.run(
        NNAlgorithmParams(rounds, evaluation_frequency=rounds, train_cohort_size=cohort, val_cohort_size=0),
        SimulatedBackend(data, data, postprocessors=[WeightByDatapoints()]),
        wrapped,
        NNTrainHyperParams(
            local_batch_size=work.batch_size,
            local_num_epochs=work.epochs,
            local_learning_rate=work.learning_rate,
        ),
        NNEvalHyperParams(local_batch_size=256),
        [clock],
    )
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        heads = {k: load_head(storage, str(k)) for k in range(work.clients)} if work.personal else {}
        accuracy = torch_clients.accuracy(work, model.state_dict(), heads)
        setting = f"{work.processes} processes (torchrun), users by size"
        answer(file, "pfl", setting, clock.laps.seconds, accuracy)


if __name__ == "__main__":
    main()
