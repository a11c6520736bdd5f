"""Flower: a FedAvg strategy, a ClientApp for each node, the simulation's Ray actors, one for each core.

https://flower.ai/docs/framework/how-to-run-simulations.html
FedPer: https://flower.ai/docs/framework/how-to-design-stateful-clients.html; the head lies in a node's
`context.state`.
"""

import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from benchmarks.simulators import torch_clients
from benchmarks.simulators.work import Laps, Work, answer, from_command_line
from benchmarks.torch_models import Vit

Folder = tuple[Path, str, int]  # what opens the work
ALL, HEAD, SETTINGS, METRICS = "arrays", "head", "config", "metrics"


class GivenCohorts(FedAvg):
    """FedAvg of the work's cohorts; after the last round every node is evaluated.

    The n-th node is client n, of which it is told.
    """

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work, self.laps, self.correct = work, Laps(), 0
        self.nodes: list[int] = []

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        cohort = self.work.cohorts[server_round - 1].tolist()
        return self._messages(cohort, arrays, grid, MessageType.TRAIN)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        aggregated = super().aggregate_train(server_round, replies)
        self.laps.lap()
        return aggregated

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        last = server_round == len(self.work.cohorts)
        return self._messages(
            list(range(self.work.clients)) if last else [], arrays, grid, MessageType.EVALUATE
        )

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        self.correct += sum(int(reply.content[METRICS]["correct"]) for reply in replies)
        return None

    def _messages(self, clients: list[int], arrays: ArrayRecord, grid: Grid, kind: str) -> list[Message]:
        while len(self.nodes) < self.work.clients:  # they come one after the other
            self.nodes = sorted(grid.get_node_ids())
            time.sleep(0.1)
        return [
            Message(
                RecordDict({ALL: arrays, SETTINGS: ConfigRecord({"client": client})}),
                dst_node_id=self.nodes[client],
                message_type=kind,
            )
            for client in clients
        ]


def train(message: Message, context: Context, folder: Folder) -> Message:
    """A node trains; what is personal stays in its context."""
    work, model, client = received(message, context, folder)
    torch_clients.train(model, work, client)
    state = model.state_dict()
    if work.personal:
        context.state[HEAD] = ArrayRecord({name: state.pop(name) for name in work.personal})
    metrics = MetricRecord({"num-examples": int(work.sizes[client])})
    return Message(RecordDict({ALL: ArrayRecord(state), METRICS: metrics}), reply_to=message)


def evaluate(message: Message, context: Context, folder: Folder) -> Message:
    """A node counts its right answers."""
    work, model, client = received(message, context, folder)
    metrics = MetricRecord({"correct": torch_clients.right_answers(model, work, client)})
    return Message(RecordDict({METRICS: metrics}), reply_to=message)


def received(message: Message, context: Context, folder: Folder) -> tuple[Work, Vit, int]:
    """(work, the model as the server sent it and with the node's own head, the node's client)."""
    torch.set_num_threads(1)
    work = torch_clients.open_work(*folder)
    model = torch_clients.initial_model(work)
    model.load_state_dict(message.content[ALL].to_torch_state_dict(), strict=False)
    if HEAD in context.state:
        model.load_state_dict(context.state[HEAD].to_torch_state_dict(), strict=False)
    return work, model, int(message.content[SETTINGS]["client"])


def main() -> None:
    """Run the simulation; the strategy keeps what is asked for."""
    work, file = from_command_line()
    strategy = GivenCohorts(work)
    server, client = ServerApp(), ClientApp()
    folder = (work.folder, work.method, work.processes)
    client.train()(partial(train, folder=folder))
    client.evaluate()(partial(evaluate, folder=folder))

    @server.main()
    def serve(grid: Grid, context: Context) -> None:
        shared = {name: value for name, value in work.parameters.items() if name not in work.personal}
        initial = ArrayRecord(torch_clients.as_torch(shared))
        strategy.laps = Laps()
        strategy.start(grid, initial, num_rounds=len(work.cohorts))

    backend = {
        "init_args": {"num_cpus": work.processes, "include_dashboard": False},
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    }
    run_simulation(server, client, num_supernodes=work.clients, backend_config=backend)
    accuracy = strategy.correct / work.test_examples
    setting = f"{work.processes} Ray actors"
    answer(file, "flwr", setting, strategy.laps.seconds, accuracy)


if __name__ == "__main__":
    main()
