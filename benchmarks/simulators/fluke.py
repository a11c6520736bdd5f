"""fluke: its FedAVG and FedPer, clients one after the other; side by side they run on several GPUs alone.

https://makgyver.github.io/fluke/
A fluke client keeps its optimizer, and so its momentum, from round to round. Here it begins anew, as in the
other simulators.
"""

from collections.abc import Sequence
from typing import Any

import torch
from fluke import DDict, FlukeENV
from fluke.algorithms.fedavg import FedAVG
from fluke.algorithms.fedper import FedPer, FedPerClient, FedPerServer
from fluke.client import Client
from fluke.data import DataSplitter, DummyDataContainer, FastDataLoader
from fluke.nets import EncoderHeadNet
from fluke.server import Server
from fluke.utils import FederationObserver

from benchmarks.simulators import torch_clients
from benchmarks.simulators.work import HEAD, Laps, Work, answer, from_command_line


class FreshOptimizer:
    """A client whose optimizer begins anew in each round."""

    def fit(self, override_local_epochs: int = 0) -> float:
        self.optimizer = None
        return super().fit(override_local_epochs)  # type: ignore[misc]


class GivenCohorts:
    """A server that takes `cohorts` in their order."""

    cohorts: Any = None

    def get_eligible_clients(self, eligible_perc: float) -> Sequence[Client]:
        return [self.clients[k] for k in next(self.cohorts)]  # type: ignore[attr-defined]


class AverageClient(FreshOptimizer, Client):
    pass


class AverageServer(GivenCohorts, Server):
    pass


class PersonalClient(FreshOptimizer, FedPerClient):
    pass


class PersonalServer(GivenCohorts, FedPerServer):
    pass


class Average(FedAVG):
    def get_client_class(self) -> type[Client]:
        return AverageClient

    def get_server_class(self) -> type[Server]:
        return AverageServer


class Personal(FedPer):
    def get_client_class(self) -> type[Client]:
        return PersonalClient

    def get_server_class(self) -> type[Server]:
        return PersonalServer


class Clock(FederationObserver):
    """Notes when each round is done."""

    def __init__(self) -> None:
        self.laps = Laps()

    def end_round(self, round: int) -> None:
        self.laps.lap()


def algorithm(work: Work) -> FedAVG | FedPer:
    """fluke's algorithm on the work's clients, which hold their train examples in memory."""
    loaders = [
        FastDataLoader(
            *torch_clients.shard(work, k),
            num_labels=work.classes,
            batch_size=work.batch_size,
            shuffle=True,
            skip_singleton=False,
        )
        for k in range(work.clients)
    ]
    data = DummyDataContainer(loaders, [None] * work.clients, None, work.classes)
    optimizer = DDict(name="SGD", lr=work.learning_rate, momentum=work.momentum, fused=True)
    client = {
        "batch_size": work.batch_size,
        "local_epochs": work.epochs,
        "loss": torch.nn.CrossEntropyLoss,
        "optimizer": optimizer,
        "scheduler": DDict(name="StepLR", step_size=1, gamma=1),
    }
    model = torch_clients.initial_model(work)
    if work.personal:
        head, model.mlp_head[1] = model.mlp_head[1], torch.nn.Identity()
        client["model"] = EncoderHeadNet(model, head)
    settings = DDict(client=DDict(client), server=DDict(weighted=True), model=model)
    return (Personal if work.personal else Average)(work.clients, DataSplitter(data), settings)


def accuracy(work: Work, run: FedAVG | FedPer) -> float:
    """With the server's parameters and each client's own head."""
    shared, heads = run.server.model.state_dict(), {}
    for client in run.clients if work.personal else []:
        heads[client.index] = {
            HEAD + name: value for name, value in client.model.get_local().state_dict().items()
        }
    return torch_clients.accuracy(work, shared, heads)


def main() -> None:
    """Run without evaluation, which comes after it."""
    work, file = from_command_line()
    torch.set_num_threads(1)
    FlukeENV().set_eval_cfg(server=False, locals=False, pre_fit=False, post_fit=False)
    run, clock = algorithm(work), Clock()
    run.server.cohorts = iter(work.cohorts.tolist())
    run.set_callbacks([clock])
    rounds, cohort = work.cohorts.shape
    clock.laps = Laps()
    run.run(rounds, cohort / work.clients)
    answer(file, "fluke-fl", "one process, one thread", clock.laps.seconds, accuracy(work, run))


if __name__ == "__main__":
    main()
