"""Made-up results of known accuracies, to be compared."""

import dataclasses

import numpy as np
import pandas as pd

from fedtp_jax import Result, SimulationConfig, config
from fedtp_jax.partitions.partition import Partition, Shards
from fedtp_jax.simulation.data_spec import DataSpec

FEDTP, FEDAVG, VANILLA = config.FedTP(), config.FedAvg(), config.Vanilla()
BASE = SimulationConfig(
    partition=config.Pathological(clients=8, classes_per_client=2),
    training=config.Training(rounds=4, cohort_size=3),
    evaluation=config.Evaluation(every=1, last=2),
)
TEST = 100  # examples of every client
SPEC = DataSpec((8, 8, 1), "uint8", 10, 8, (0.0,), (1.0,), None, "1", "2", name="digits", identity="3")


def made(method, seed, curve, correct, shift=0, **changes):
    """A result that no simulation made: `curve` is the accuracy round by round, `correct` that of clients."""
    rounds = np.arange(1, len(curve) + 1)
    accuracies = np.array(correct) / TEST
    clients = {
        "client": np.arange(len(correct)),
        "test_accuracy": accuracies,
        "test_accuracy_mean": accuracies,
    }
    history = pd.DataFrame(
        {
            "round": rounds,
            "test_accuracy": np.array(curve, float),
            "test_client_mean": np.where(rounds < len(curve), 0.0, pd.Series(accuracies).mean()),
            "test_client_std": 0.1,
            "test_worst_decile": np.where(rounds < len(curve), 0.0, pd.Series(accuracies).min()),
            "test_loss": 1.0,
            "excluded": 0,
            "excluded_clients": "",
            "clients_tested": float(np.isfinite(accuracies).sum()),
        }
    )
    lists = Shards.from_lists([np.array([k + shift]) for k in range(len(correct))])
    settings = dataclasses.replace(BASE, method=method, seed=seed, **changes)
    return Result(
        settings, history, pd.DataFrame(clients), pd.DataFrame(), None, Partition(lists, lists), SPEC, {}
    )


def flat(method, seed, accuracy, correct=(50,) * 8, **changes):
    rounds = changes.get("training", BASE.training).rounds
    return made(method, seed, [accuracy] * rounds, correct, **changes)


# fedtp is ahead of vanilla for every client by other amounts; of fedavg for all but the last
BEST = [90, 91, 92, 93, 94, 95, 96, 97]
BELOW = [89, 89, 89, 89, 89, 89, 89, 89]
MIXED = [89, 89, 89, 89, 89, 89, 89, 105]
THREE = [
    made(FEDTP, 0, [0.99, 0.2, 0.90, 0.94], BEST),
    made(FEDTP, 1, [0.99, 0.2, 0.96, 0.96], BEST),
    made(VANILLA, 0, [0.1, 0.2, 0.88, 0.90], BELOW),
    made(VANILLA, 1, [0.1, 0.2, 0.92, 0.90], BELOW),
    made(FEDAVG, 0, [0.1, 0.2, 0.87, 0.89], MIXED),
    made(FEDAVG, 1, [0.1, 0.2, 0.90, 0.90], MIXED),
]
