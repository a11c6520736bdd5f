"""BlazeFL: its FedAvg server, and clients in a pool of threads, or of processes where Python has the GIL.

https://github.com/kitsuyaazuma/blazefl
Its own FedAvg clients have SGD without momentum, so these are written on its pools, as its guide on own
algorithms says. FedPer: a client keeps its head, in memory (threads) or in a file (processes).
"""

import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp
from blazefl.contrib import FedAvgBaseServerHandler, FedAvgDownlinkPackage, FedAvgUplinkPackage
from blazefl.core import (
    ProcessPoolClientTrainer,
    SHMHandle,
    ThreadPoolClientTrainer,
    deserialize_model,
    serialize_model,
)

from benchmarks.simulators import torch_clients
from benchmarks.simulators.work import Laps, Work, answer, from_command_line
from benchmarks.torch_models import Vit

State = dict[str, torch.Tensor]


class Models:
    """The model selector of the server."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def select_model(self, model_name: str) -> Vit:
        return torch_clients.initial_model(self.work)


class GivenCohorts(FedAvgBaseServerHandler):
    """BlazeFL's FedAvg of the work's cohorts."""

    def __init__(self, work: Work) -> None:
        rounds, cohort = work.cohorts.shape
        super().__init__(
            model_selector=Models(work),
            model_name="vit",
            dataset=None,  # which serves its evaluation alone
            global_round=rounds,
            num_clients=work.clients,
            sample_ratio=cohort / work.clients,
            device="cpu",
            batch_size=work.batch_size,
            seed=0,
        )
        self.work = work

    def sample_clients(self) -> list[int]:
        return self.work.cohorts[self.round].tolist()


@dataclass
class Config:
    """What a process needs to train a client."""

    folder: Path
    method: str
    processes: int
    client: int
    head: Path


@dataclass
class Buffer:
    """What a process sends back; the parameters lie in memory that both share."""

    cid: int
    model_parameters: torch.Tensor | SHMHandle
    data_size: int


class Threads(ThreadPoolClientTrainer[FedAvgUplinkPackage, FedAvgDownlinkPackage]):
    """Clients side by side in threads, for a Python without the GIL."""

    def __init__(self, work: Work) -> None:
        self.work, self.num_parallels, self.device, self.device_count = work, work.processes, "cpu", 0
        self.cache: list[FedAvgUplinkPackage] = []
        self.stop_event = threading.Event()
        self.heads: dict[int, State] = {}

    def worker(
        self, cid: int, device: str, payload: FedAvgDownlinkPackage, stop_event: threading.Event
    ) -> FedAvgUplinkPackage:
        model, head = trained(self.work, cid, payload.model_parameters, self.heads.get(cid, {}))
        self.heads[cid] = head
        return FedAvgUplinkPackage(cid, serialize_model(model), int(self.work.sizes[cid]))

    def uplink_package(self) -> list[FedAvgUplinkPackage]:
        package, self.cache = self.cache, []
        return package


class Processes(ProcessPoolClientTrainer[FedAvgUplinkPackage, FedAvgDownlinkPackage, Config, Buffer]):
    """Clients side by side in processes."""

    def __init__(self, work: Work, folder: Path) -> None:
        self.work, self.num_parallels, self.device, self.device_count = work, work.processes, "cpu", 0
        self.cache: list[FedAvgUplinkPackage] = []
        self.manager = mp.Manager()
        self.stop_event = self.manager.Event()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.template = serialize_model(torch_clients.initial_model(work))

    def progress_fn(self, it: list[Any]) -> Iterable[Any]:
        return it

    def get_client_config(self, cid: int) -> Config:
        work = self.work
        return Config(work.folder, work.method, work.processes, cid, self.folder / f"{cid}.pt")

    def prepare_uplink_package_buffer(self) -> Buffer:
        return Buffer(-1, self.template.clone(), 0)

    def convert_buffer_to_uplink(self, buffer: Buffer) -> FedAvgUplinkPackage:
        return FedAvgUplinkPackage(buffer.cid, buffer.model_parameters, buffer.data_size)

    @staticmethod
    def worker(
        config: Config,
        payload: FedAvgDownlinkPackage,
        device: str,
        stop_event: threading.Event,
        *,
        shm_buffer: Buffer | None = None,
    ) -> Buffer:
        assert shm_buffer is not None
        torch.set_num_threads(1)
        work = torch_clients.open_work(config.folder, config.method, config.processes)
        own = torch.load(config.head) if config.head.exists() else {}
        model, head = trained(work, config.client, payload.model_parameters, own)
        if head:
            torch.save(head, config.head)
        shm_buffer.model_parameters.copy_(serialize_model(model))
        return Buffer(config.client, SHMHandle(), int(work.sizes[config.client]))

    @property
    def heads(self) -> dict[int, State]:
        """What each client kept."""
        return {int(file.stem): torch.load(file) for file in self.folder.glob("*.pt")}

    uplink_package = Threads.uplink_package


def trained(work: Work, client: int, parameters: torch.Tensor, own: State) -> tuple[Vit, State]:
    """(a client's model after its epochs, what of it is personal)."""
    model = torch_clients.initial_model(work)
    initial = {name: torch.as_tensor(work.parameters[name]) for name in work.personal}
    deserialize_model(model, parameters)
    model.load_state_dict(own or initial, strict=False)
    torch_clients.train(model, work, client)
    state = model.state_dict()
    return model, {name: state[name] for name in work.personal}


def main() -> None:
    """BlazeFL's own loop."""
    work, file = from_command_line()
    torch.set_num_threads(1)
    free = not getattr(sys, "_is_gil_enabled", lambda: True)()
    server = GivenCohorts(work)
    clients = Threads(work) if free else Processes(work, file.with_suffix(".heads"))
    laps = Laps()
    while not server.is_stopped():
        cohort = server.sample_clients()
        clients.local_process(server.downlink_package(), cohort)
        for package in clients.uplink_package():
            server.load(package)
        laps.lap()
    accuracy = torch_clients.accuracy(work, server.model.state_dict(), clients.heads)
    setting = f"{work.processes} {'threads, free-threaded Python' if free else 'processes'}"
    answer(file, "blazefl", setting, laps.seconds, accuracy)


if __name__ == "__main__":
    mp.set_start_method("fork")
    main()
