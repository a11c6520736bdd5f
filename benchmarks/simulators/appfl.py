"""APPFL: synchronous FedAvg over MPI, a server and a rank of clients for each core.

https://appfl.ai/en/latest/tutorials/examples_mpibatch.html
A rank trains its clients one after the other and sends all their models at once. FedAvg: each cohort is laid
onto the ranks by size. FedPer: a client's agent lives on one rank, always the same, and leaves its own head
alone when it loads the server's parameters.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from appfl.agent import ClientAgent, ServerAgent
from appfl.comm.mpi import MPIClientCommunicator, MPIServerCommunicator
from mpi4py import MPI
from omegaconf import OmegaConf
from torch.utils.data import TensorDataset

from benchmarks.simulators import torch_clients
from benchmarks.simulators.work import Laps, Work, answer, from_command_line

State = dict[str, torch.Tensor]
QUICK = {"optimize_memory": False}  # else it collects garbage after every message, which takes longer


class WorkClient(ClientAgent):
    """A client of the work: its data and model are given, what is personal is not loaded."""

    def __init__(self, settings: Any, work: Work, client: int) -> None:
        self.work, self.client = work, client
        super().__init__(settings)

    def _load_data(self) -> None:
        self.train_dataset = TensorDataset(*torch_clients.shard(self.work, self.client))
        self.val_dataset = None

    def _load_model(self) -> None:
        self.model = torch_clients.initial_model(self.work)

    def _load_metric(self) -> None:
        self.metric = lambda labels, logits: 0.0

    def load_parameters(self, params: Mapping[str, torch.Tensor]) -> None:
        shared = {name: value for name, value in params.items() if name not in self.work.personal}
        super().load_parameters(shared)


class WorkServer(ServerAgent):
    """The server starts from the work's parameters."""

    def __init__(self, settings: Any, work: Work) -> None:
        self.work = work
        super().__init__(settings)

    def _load_model(self) -> None:
        self.model = torch_clients.initial_model(self.work)


def client_settings(work: Work, client: int, logs: Path) -> Any:
    """Configuration of one client's agent."""
    optimizer = {"lr": work.learning_rate, "momentum": work.momentum, "fused": True}
    train = {
        "trainer": "VanillaTrainer",
        "mode": "epoch",
        "num_local_epochs": work.epochs,
        "optim": "SGD",
        "optim_args": optimizer,
        "loss_fn": "CrossEntropyLoss",
        "train_batch_size": work.batch_size,
        "train_data_shuffle": True,
        "device": "cpu",
        "logging_output_dirname": str(logs),
        **QUICK,
    }
    return OmegaConf.create({"client_id": str(client), "train_configs": train, **QUICK})


def server_settings(work: Work, logs: Path) -> Any:
    """Configuration of the server: one of its clients is a place in the cohort."""
    rounds, cohort = work.cohorts.shape
    server = {
        "num_clients": cohort,
        "num_global_epochs": rounds,
        "scheduler": "SyncScheduler",
        "aggregator": "FedAvgAggregator",
        "scheduler_kwargs": QUICK,
        "aggregator_kwargs": {"client_weights_mode": "sample_size", **QUICK},
        "device": "cpu",
        "logging_output_dirname": str(logs),
        **QUICK,
    }
    return OmegaConf.create({"client_configs": {"train_configs": {}}, "server_configs": server})


def ranks_of(clients: list[int], work: Work, ranks: int) -> list[list[int]]:
    """The clients of each rank: the largest first, each to the rank with the least to do."""
    found: list[list[int]] = [[] for _ in range(ranks)]
    steps = np.zeros(ranks)
    for client in sorted(clients, key=lambda k: -work.sizes[k]):
        least = int(steps.argmin())
        found[least].append(client)
        steps[least] += work.sizes[client]
    return found


def shares(work: Work, rank: int) -> list[list[int]]:
    """Whom a rank (from 0) trains in each round."""
    if not work.personal:
        return [ranks_of(cohort, work, work.processes)[rank] for cohort in work.cohorts.tolist()]
    mine = set(ranks_of(list(range(work.clients)), work, work.processes)[rank])
    return [[k for k in cohort if k in mine] for cohort in work.cohorts.tolist()]


def train(work: Work, file: Path, comm: Any) -> tuple[list[float], State, dict[int, State]]:
    """A rank of clients: (seconds of each round, the last global model, heads of its clients)."""
    mine = shares(work, comm.Get_rank() - 1)
    assert all(mine), f"a rank without a client in a round would miss its parameters: {mine}"
    everybody = sorted({k for clients in mine for k in clients})
    logs = file.with_suffix(".logs")
    agents = {k: WorkClient(client_settings(work, k, logs), work, k) for k in everybody}
    link = MPIClientCommunicator(comm, server_rank=0, client_ids=[str(k) for k in everybody], **QUICK)
    sizes = {str(k): {"sample_size": agent.get_sample_size()} for k, agent in agents.items()}
    link.invoke_custom_action("set_sample_size", kwargs=sizes)
    link.client_ids = [str(k) for k in mine[0]]
    parameters, laps = link.get_global_model(init_model=True), Laps()
    for clients in mine:
        trained, metadata = {}, {}
        for k in clients:
            agents[k].load_parameters(parameters)
            agents[k].train()
            model = agents[k].get_parameters()
            trained[str(k)], metadata[str(k)] = model if isinstance(model, tuple) else (model, {})
        link.client_ids = list(trained)
        parameters, _ = link.update_global_model(trained, kwargs=metadata)
        laps.lap()
    heads = {
        k: {name: agent.model.state_dict()[name] for name in work.personal} for k, agent in agents.items()
    }
    link.client_ids = [str(k) for k in mine[-1]]
    link.invoke_custom_action("close_connection")
    return laps.seconds, parameters, heads


def main() -> None:
    """Rank 0 serves, and answers when all is done."""
    work, file = from_command_line()
    torch.set_num_threads(1)
    comm = MPI.COMM_WORLD
    if comm.Get_rank():
        comm.gather(train(work, file, comm))
        return
    server = WorkServer(server_settings(work, file.with_suffix(".logs")), work)
    MPIServerCommunicator(comm, server, logger=server.logger, **QUICK).serve()
    (seconds, shared, heads), *others = comm.gather(None)[1:]
    for _, _, more in others:
        heads |= more
    setting = f"MPI, a server and {work.processes} ranks of clients"
    accuracy = torch_clients.accuracy(work, shared, heads if work.personal else {})
    answer(file, "appfl", setting, seconds, accuracy)


if __name__ == "__main__":
    main()
